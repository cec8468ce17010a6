// One block of keys and values (kKvPagePositions positions in all layers of a
// layout) that outlives the sequence which computed it, so that others whose
// tokens are the same up to there can begin with it.
//
//   KvBlock block(&pool, 3);                  // positions 192 to 255
//   step.Commit({{kv, 200, 80, {&block}}});   // takes the pages, no copies
//   auto next = KvSequence::Create(&pool, max_positions, {…, &block});
//
// A block has two parts: pages of the layers that keep every position, which
// every later position sees, and its window, pages of the sliding layers, which
// only the next positions see. A prefix needs the windows of its last blocks
// only, so a window can be dropped alone.
#ifndef LAPIDARY_KERNELS_ATTENTION_KV_BLOCK_H_
#define LAPIDARY_KERNELS_ATTENTION_KV_BLOCK_H_

#include <cstdint>
#include <vector>

#include "kernels/attention/kv_cache.h"

namespace lapidary::kernels {

class KvBlock {
 public:
  KvBlock(KvPool* pool, int64_t number);
  ~KvBlock();
  KvBlock(const KvBlock&) = delete;
  KvBlock& operator=(const KvBlock&) = delete;

  int64_t number() const { return number_; }  // first position / 64
  bool has_full() const { return Has(/*ring=*/false); }
  bool has_window() const { return Has(/*ring=*/true); }
  // The page of layer number `index` of the layout; -1: none.
  int32_t page(int64_t index) const { return pages_[index]; }

  // Holds the page of `sequence` from now on, unless the block has that of
  // layer `index` already. All of the block's rows must be written. Nothing
  // changes where another block holds the page, and for a page of a ring where
  // the pool has no page free to promise.
  void TakePage(int64_t index, const KvSequence& sequence);

  void DropWindow();

 private:
  bool Has(bool ring) const;
  void DropPage(int64_t index);

  KvPool* pool_;
  int64_t number_;
  std::vector<int32_t> pages_;  // [layout layer]
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_ATTENTION_KV_BLOCK_H_
