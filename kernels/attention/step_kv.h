// Keys and values that one step makes, beside those that the cache holds.
//
// A ring of `window` slots has no room for a chunk of a prompt: the chunk's
// last rows would overwrite keys that its first rows still see. So the rows of
// a step stay here until every layer that reads them is done, and go into the
// cache at its end.
//
//   step.Begin(layout, rows);
//   … write step.Keys(i), step.Values(i) …
//   step.VisibleRuns(i, sequence, position, window, &runs);
//   step.Commit(sequences);
#ifndef LAPIDARY_KERNELS_ATTENTION_STEP_KV_H_
#define LAPIDARY_KERNELS_ATTENTION_STEP_KV_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/kv_block.h"
#include "kernels/attention/kv_cache.h"

namespace lapidary::kernels {

// Consecutive rows of a batch that belong to one sequence: a chunk of a
// prompt, or one row while decoding.
struct SequenceRows {
  KvSequence* kv = nullptr;
  int64_t first_position = 0;  // of the first row; those before it are cached
  int64_t rows = 0;
  // Blocks that these rows complete and that shall be kept, ascending.
  absl::Span<KvBlock* const> keep = {};
};

class StepKv {
 public:
  // Makes room for `rows` rows in every layer of `layout`.
  void Begin(const KvLayout& layout, int64_t rows);

  // Number of the model's `layer` in the layout, which must hold it.
  int64_t IndexOf(int64_t layer) const;

  // [rows][kv_width] in the layout's dtype, for layer number `index`.
  std::byte* Keys(int64_t index) { return buffers_[index].data(); }
  std::byte* Values(int64_t index) {
    return buffers_[index].data() + rows_ * row_bytes_;
  }

  // The runs of keys that the query at `position` sees: cached pages, then
  // rows of this step; with `window` > 0 the last so many positions only.
  //   first_row  batch row of the sequence's first row
  void VisibleRuns(int64_t index, const SequenceRows& sequence,
                   int64_t first_row, int64_t position, int64_t window,
                   std::vector<KvRun>* runs);

  // Writes the step's rows into the sequences' caches, and gives the blocks
  // that are to be kept the pages that they lack.
  void Commit(absl::Span<const SequenceRows> sequences);

  size_t bytes() const;

 private:
  void CommitRows(int64_t index, const SequenceRows& sequence,
                  int64_t first_row);
  // Keys or values of consecutive rows into the slots of one page.
  void ToPage(const std::byte* rows, int64_t count, std::byte* slots) const;

  KvLayout layout_;
  int64_t rows_ = 0;
  size_t row_bytes_ = 0;
  std::vector<std::vector<std::byte>> buffers_;  // [layer][keys, values]
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_ATTENTION_STEP_KV_H_
