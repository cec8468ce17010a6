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
  const int64_t cached = sequence.first_position;
  int64_t p = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
  while (p < cached) {
    const int64_t count =
        std::min(kKvPagePositions - p % kKvPagePositions, cached - p);
    runs->push_back({sequence.kv->Key(index, p), sequence.kv->Value(index, p),
                     count, layout_.HeadDim(),
                     kKvPagePositions * layout_.HeadDim()});
    p += count;
  }
  const size_t offset = (first_row + p - cached) * row_bytes_;
  runs->push_back({Keys(index) + offset, Values(index) + offset,
                   position - p + 1, layout_.kv_width, layout_.HeadDim()});
}

void StepKv::Commit(absl::Span<const SequenceRows> sequences) {
  for (size_t index = 0; index < buffers_.size(); ++index) {
    int64_t first_row = 0;
    for (const SequenceRows& sequence : sequences) {
      CommitRows(index, sequence, first_row);
      first_row += sequence.rows;
    }
  }
}

void StepKv::ToPage(const std::byte* rows, int64_t count,
                    std::byte* slots) const {
  const size_t head_bytes = row_bytes_ / layout_.kv_heads;
  for (int64_t head = 0; head < layout_.kv_heads; ++head) {
    const std::byte* from = rows + head * head_bytes;
    std::byte* to = slots + head * kKvPagePositions * head_bytes;
    for (int64_t row = 0; row < count; ++row) {
      std::memcpy(to + row * head_bytes, from + row * row_bytes_, head_bytes);
    }
  }
}

void StepKv::CommitRows(int64_t index, const SequenceRows& sequence,
                        int64_t first_row) {
  const KvLayout::Layer& layer = layout_.layers[index];
  const int64_t end = sequence.first_position + sequence.rows;
  int64_t p = sequence.first_position;
  // Of a chunk longer than the ring only the newest rows stay, unless blocks
  // among the others are kept.
  if (layer.ring > 0 && sequence.keep.empty()) {
    p = std::max(p, end - layer.RingPages() * kKvPagePositions);
  }
  auto keep = sequence.keep.begin();
  while (p < end) {
    const int64_t count =
        std::min(kKvPagePositions - p % kKvPagePositions, end - p);
    const size_t offset =
        (first_row + p - sequence.first_position) * row_bytes_;
    sequence.kv->MakeWritable(index, p, count);
    ToPage(Keys(index) + offset, count, sequence.kv->Key(index, p));
    ToPage(Values(index) + offset, count, sequence.kv->Value(index, p));
    p += count;
    if (p % kKvPagePositions != 0) continue;
    const int64_t completed = p / kKvPagePositions - 1;
    if (keep != sequence.keep.end() && (*keep)->number() == completed) {
      (*keep)->TakePage(index, *sequence.kv);
      ++keep;
    }
  }
}

size_t StepKv::bytes() const {
  size_t total = 0;
  for (const auto& buffer : buffers_) total += buffer.capacity();
  return total;
}

}  // namespace lapidary::kernels
