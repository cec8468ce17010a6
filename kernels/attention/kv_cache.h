// Keys and values of running sequences: fixed pages from one pool, so that
// memory is decided at start and a sequence gives all of it back when it ends.
//
// A page holds the keys and values of kKvPagePositions positions of one layer,
// a block. A full-attention layer has a page for every block; a sliding layer a
// ring of as many pages as its window needs, block b in page b mod pages.
// Layers that share another's keys and values own none.
//
//   KvPool pool(layout, pages);
//   auto kv = KvSequence::Create(&pool, max_positions);  // RESOURCE_EXHAUSTED
//   …                                                    // when it is full
//   kv.reset();                                          // pages are free
//
// Pages can have several holders: sequences that begin alike, and KvBlocks,
// which keep a block's pages for sequences to come (kv_block.h). Such a page is
// not written any more. One of a ring is replaced by a copy before its holder
// writes into it; the pool promises a free page to every holder but one, so
// that this cannot fail.
//
// Not thread-safe: a pool, its sequences and blocks belong to one compute
// thread.
#ifndef LAPIDARY_KERNELS_ATTENTION_KV_CACHE_H_
#define LAPIDARY_KERNELS_ATTENTION_KV_CACHE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

inline constexpr int64_t kKvPagePositions = 64;

// What a range of layers stores per position.
struct KvLayout {
  struct Layer {
    int64_t layer = 0;  // index in the model
    // Positions that a query sees at most, kept in a ring of whole pages; 0:
    // every position is kept.
    int64_t ring = 0;

    // Pages of the ring; 0 where there is none.
    int64_t RingPages() const {
      return (ring + kKvPagePositions - 1) / kKvPagePositions;
    }
  };
  DType dtype = DType::kF32;  // kF32 or kBf16
  int64_t kv_width = 0;       // num_key_value_heads · head_dim
  int64_t kv_heads = 1;       // num_key_value_heads
  std::vector<Layer> layers;  // those of the range that are kept, ascending

  // Bytes of one position's keys (or values) in one layer.
  size_t RowBytes() const { return kv_width * SizeOf(dtype); }
  int64_t HeadDim() const { return kv_width / kv_heads; }
  // Bytes of a page: keys [kv_heads][slot][head_dim], then values. A head's
  // keys lie together because one thread reads one head.
  size_t PageBytes() const;
  // Pages that a sequence of so many positions takes.
  int64_t PagesFor(int64_t positions) const;
  // Layers that keep every position, and those that keep a ring.
  int64_t FullLayers() const;
  int64_t RingLayers() const;
  // Pages of the longest ring: so many blocks before a position hold all that a
  // sliding layer sees from there.
  int64_t WindowBlocks() const;
};

class KvBlock;

class KvPool {
 public:
  // Reserves address space for `pages`; the kernel backs a page when it is
  // first written.
  KvPool(KvLayout layout, int64_t pages);
  ~KvPool();
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;

  const KvLayout& layout() const { return layout_; }
  int64_t pages_total() const { return pages_total_; }
  // Pages that can be taken: neither held nor promised.
  int64_t pages_free() const {
    return static_cast<int64_t>(free_.size()) - promised_;
  }
  // Pages that blocks hold, and that sequences hold or are promised (a page
  // that both hold is in use).
  int64_t pages_kept() const { return kept_; }
  int64_t pages_in_use() const { return pages_total_ - pages_free() - idle_; }
  size_t bytes_in_use() const { return pages_in_use() * layout_.PageBytes(); }

 private:
  friend class KvSequence;
  friend class KvBlock;

  struct Page {
    int32_t holders = 0;
    bool ring = false;
    bool kept = false;  // a block is among the holders
  };

  std::byte* Address(int32_t page) const {
    return memory_ + page * static_cast<int64_t>(layout_.PageBytes());
  }
  // Takes a free page: there must be one.
  int32_t Take(bool ring);
  void Hold(int32_t page);
  void Drop(int32_t page);
  void SetKept(int32_t page, bool kept);
  bool Idle(int32_t page) const {
    return pages_[page].kept && pages_[page].holders == 1;
  }

  KvLayout layout_;
  int64_t pages_total_;
  std::byte* memory_ = nullptr;
  std::vector<int32_t> free_;
  std::vector<Page> pages_;
  int64_t promised_ = 0;  // Σ over pages of rings: holders beyond the first
  int64_t kept_ = 0;      // pages that blocks hold
  int64_t idle_ = 0;      // of them, those that no sequence holds
};

class KvSequence {
 public:
  // Takes all pages for `max_positions` positions, or none. With a prefix the
  // sequence begins with the keys and values of those blocks, which are blocks
  // 0, 1, … of the same tokens and fewer than the sequence's; only full blocks
  // and the windows of the last WindowBlocks() are looked at.
  // Errors: RESOURCE_EXHAUSTED with the numbers of pages wanted and free;
  // FAILED_PRECONDITION for a prefix that lacks pages.
  static absl::StatusOr<std::unique_ptr<KvSequence>> Create(
      KvPool* pool, int64_t max_positions,
      absl::Span<const KvBlock* const> prefix = {});
  ~KvSequence();
  KvSequence(const KvSequence&) = delete;
  KvSequence& operator=(const KvSequence&) = delete;

  int64_t max_positions() const { return max_positions_; }
  const KvLayout& layout() const { return pool_->layout_; }

  // Where `position` lies in layer number `index` of the layout (not of the
  // model): head_dim elements of the layout's dtype, of head 0. Consecutive
  // slots of a page follow one another; head h is h · kKvPagePositions slots
  // behind.
  std::byte* Key(int64_t index, int64_t position);
  std::byte* Value(int64_t index, int64_t position);

  // Before `rows` rows of one block are written from `position` on: makes sure
  // that nobody else holds the page.
  void MakeWritable(int64_t index, int64_t position, int64_t rows);
  // The page of the block that holds `position`.
  int32_t Page(int64_t index, int64_t position) const;

 private:
  KvSequence(KvPool* pool, int64_t max_positions,
             absl::Span<const KvBlock* const> prefix);

  KvPool* pool_;
  int64_t max_positions_;
  std::vector<std::vector<int32_t>> pages_;  // [layout layer][page]
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_ATTENTION_KV_CACHE_H_
