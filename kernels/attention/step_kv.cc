#include "kernels/attention/step_kv.h"

#include <algorithm>
#include <cstring>

namespace lapidary::kernels {

void StepKv::Begin(const KvLayout& layout, int64_t rows) {
  layout_ = layout;
  rows_ = rows;
  row_bytes_ = layout.RowBytes();
  buffers_.resize(layout.layers.size());
  for (std::vector<std::byte>& buffer : buffers_) {
    MakeRoom(&buffer, 2 * rows * row_bytes_);
  }
}

int64_t StepKv::IndexOf(int64_t layer) const {
  int64_t index = 0;
  while (layout_.layers[index].layer != layer) ++index;
  return index;
}

void StepKv::VisibleRuns(int64_t index, const SequenceRows& sequence,
                         int64_t first_row, int64_t position, int64_t window,
                         std::vector<KvRun>* runs) {
  runs->clear();
  const int64_t ring = layout_.layers[index].ring;
  const int64_t cached = sequence.first_position;
  int64_t p = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
  while (p < cached) {
    const int64_t slot = ring > 0 ? p % ring : p;
    int64_t count = kKvPagePositions - slot % kKvPagePositions;
    if (ring > 0) count = std::min(count, ring - slot);
    count = std::min(count, cached - p);
    runs->push_back(
        {sequence.kv->Key(index, p), sequence.kv->Value(index, p), count});
    p += count;
  }
  const size_t offset = (first_row + p - cached) * row_bytes_;
  runs->push_back(
      {Keys(index) + offset, Values(index) + offset, position - p + 1});
}

void StepKv::Commit(absl::Span<const SequenceRows> sequences) {
  for (size_t index = 0; index < buffers_.size(); ++index) {
    const int64_t ring = layout_.layers[index].ring;
    int64_t first_row = 0;
    for (const SequenceRows& sequence : sequences) {
      // Of a chunk longer than the ring only the newest rows stay.
      const int64_t skip =
          ring > 0 ? std::max<int64_t>(0, sequence.rows - ring) : 0;
      for (int64_t row = skip; row < sequence.rows; ++row) {
        const int64_t position = sequence.first_position + row;
        const size_t offset = (first_row + row) * row_bytes_;
        std::memcpy(sequence.kv->Key(index, position), Keys(index) + offset,
                    row_bytes_);
        std::memcpy(sequence.kv->Value(index, position), Values(index) + offset,
                    row_bytes_);
      }
      first_row += sequence.rows;
    }
  }
}

size_t StepKv::bytes() const {
  size_t total = 0;
  for (const auto& buffer : buffers_) total += buffer.capacity();
  return total;
}

}  // namespace lapidary::kernels
