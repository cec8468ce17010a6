// Keys and values of running sequences: fixed pages from one pool, so that
// memory is decided at start and a sequence gives all of it back when it ends.
//
// A page holds the keys and values of kKvPagePositions slots of one layer. A
// full-attention layer maps position p to slot p; a sliding layer to slot
// p mod window, a ring. Layers that share another's keys and values own none.
//
//   KvPool pool(layout, pages);
//   auto kv = KvSequence::Create(&pool, max_positions);  // RESOURCE_EXHAUSTED
//   …                                                    // when it is full
//   kv.reset();                                          // pages are free
//
// Not thread-safe: a pool and its sequences belong to one compute thread.
#ifndef LAPIDARY_KERNELS_ATTENTION_KV_CACHE_H_
#define LAPIDARY_KERNELS_ATTENTION_KV_CACHE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

inline constexpr int64_t kKvPagePositions = 64;

// What a range of layers stores per position.
struct KvLayout {
  struct Layer {
    int64_t layer = 0;  // index in the model
    int64_t ring = 0;   // slots of the ring; 0: one slot a position
  };
  DType dtype = DType::kF32;  // kF32 or kBf16
  int64_t kv_width = 0;       // num_key_value_heads · head_dim
  std::vector<Layer> layers;  // those of the range that are kept, ascending

  // Bytes of one position's keys (or values) in one layer.
  size_t RowBytes() const { return kv_width * SizeOf(dtype); }
  // Bytes of a page: keys [slot][kv_width], then values.
  size_t PageBytes() const;
  // Pages that a sequence of so many positions takes.
  int64_t PagesFor(int64_t positions) const;
};

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
  int64_t pages_in_use() const {
    return pages_total_ - static_cast<int64_t>(free_.size());
  }
  size_t bytes_in_use() const { return pages_in_use() * layout_.PageBytes(); }

 private:
  friend class KvSequence;

  KvLayout layout_;
  int64_t pages_total_;
  std::byte* memory_ = nullptr;
  std::vector<int32_t> free_;
};

class KvSequence {
 public:
  // Takes all pages for `max_positions` positions, or none.
  // Errors: RESOURCE_EXHAUSTED with the numbers of pages wanted and free.
  static absl::StatusOr<std::unique_ptr<KvSequence>> Create(
      KvPool* pool, int64_t max_positions);
  ~KvSequence();
  KvSequence(const KvSequence&) = delete;
  KvSequence& operator=(const KvSequence&) = delete;

  int64_t max_positions() const { return max_positions_; }
  const KvLayout& layout() const { return pool_->layout_; }

  // The row of `position` in layer number `index` of the layout (not of the
  // model): kv_width elements of the layout's dtype. Rows of consecutive slots
  // of a page follow one another.
  std::byte* Key(int64_t index, int64_t position);
  std::byte* Value(int64_t index, int64_t position);

 private:
  KvSequence(KvPool* pool, int64_t max_positions);
  std::byte* Slot(int64_t index, int64_t position, int64_t* slot_in_page);

  KvPool* pool_;
  int64_t max_positions_;
  std::vector<std::vector<int32_t>> pages_;  // [layout layer][page]
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_ATTENTION_KV_CACHE_H_
