#include "kernels/quant/neuron_panel.h"

// SSE2, which every x86-64 CPU has.
#include <emmintrin.h>

#include <algorithm>
#include <cstring>

namespace lapidary::kernels {
namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kVector = 16;
constexpr int64_t kWordBytes = 4;
constexpr int64_t kWordRowBytes = kQuantPanelRows * kWordBytes;

// Asks memory for records, a few lines at a time.
class Prefetcher {
 public:
  Prefetcher(const NeuronMatrix& w, absl::Span<const int32_t> neurons)
      : w_(w),
        neurons_(neurons),
        lines_(NeuronBytes(w.dtype, w.width) / kLine),
        per_step_(kQuantPanelRows * lines_ / QuantRecords(w.width) + 1) {}

  // One step of as many as a record has; after the last, all was asked for.
  void Step() {
    for (int64_t i = 0; i < per_step_ && neuron_ < neurons_.size(); ++i) {
      // Into L2: L1 has no room beside a panel and its records. 15 % faster.
      constexpr int kRead = 0, kL2 = 2;
      __builtin_prefetch(w_.record(neurons_[neuron_]) + line_ * kLine, kRead,
                         kL2);
      if (++line_ == lines_) {
        line_ = 0;
        ++neuron_;
      }
    }
  }

 private:
  const NeuronMatrix& w_;
  const absl::Span<const int32_t> neurons_;
  const int64_t lines_;
  const int64_t per_step_;
  size_t neuron_ = 0;
  int64_t line_ = 0;
};

__m128i Load(const std::byte* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

void Store(__m128i numbers, void* at) {
  _mm_store_si128(static_cast<__m128i*>(at), numbers);
}

// Four words of each of four neurons: out row j has the neurons' words j.
//   in   the neurons' records, all read at `offset`
//   out  rows kWordRowBytes apart
void TransposeWords(const std::byte* const* in, int64_t offset,
                    std::byte* out) {
  const __m128i a = Load(in[0] + offset), b = Load(in[1] + offset),
                c = Load(in[2] + offset), d = Load(in[3] + offset);
  const __m128i ab_low = _mm_unpacklo_epi32(a, b);
  const __m128i ab_high = _mm_unpackhi_epi32(a, b);
  const __m128i cd_low = _mm_unpacklo_epi32(c, d);
  const __m128i cd_high = _mm_unpackhi_epi32(c, d);
  Store(_mm_unpacklo_epi64(ab_low, cd_low), out);
  Store(_mm_unpackhi_epi64(ab_low, cd_low), out + kWordRowBytes);
  Store(_mm_unpacklo_epi64(ab_high, cd_high), out + 2 * kWordRowBytes);
  Store(_mm_unpackhi_epi64(ab_high, cd_high), out + 3 * kWordRowBytes);
}

// 16 bytes of each of 16 neurons: out row j has the neurons' bytes j.
//   rows  in and out
void TransposeBytes(__m128i* rows) {
  // Four rounds that interleave row i with row i + 8.
  for (int round = 0; round < 4; ++round) {
    __m128i mixed[kQuantPanelRows];
    for (int64_t i = 0; i < kQuantPanelRows / 2; ++i) {
      const __m128i a = rows[i], b = rows[i + kQuantPanelRows / 2];
      mixed[2 * i] = _mm_unpacklo_epi8(a, b);
      mixed[2 * i + 1] = _mm_unpackhi_epi8(a, b);
    }
    std::copy(mixed, mixed + kQuantPanelRows, rows);
  }
}

constexpr int64_t kRecordsOfGrids = kVector / kQuantRecordBlocks;

// The grids of `count` panel records, at most four.
//   in   the neurons' records, all read at `offset`
//   out  of the first record
void GatherGrids(const std::byte* const* in, int64_t offset, int64_t count,
                 std::byte* out) {
  __m128i rows[kQuantPanelRows];
  // 16 bytes, though fewer may be grids: records end with a cache line.
  for (int64_t i = 0; i < kQuantPanelRows; ++i) rows[i] = Load(in[i] + offset);
  TransposeBytes(rows);
  constexpr int64_t kRecordBytes = QuantRecordBytes(DType::kInt4);
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t block = 0; block < kQuantRecordBlocks; ++block) {
      Store(rows[r * kQuantRecordBlocks + block],
            out + r * kRecordBytes + block * kQuantPanelRows);
    }
  }
}

}  // namespace

void GatherPanel(const NeuronMatrix& w, absl::Span<const int32_t> neurons,
                 absl::Span<const int32_t> next, std::byte* panel) {
  const std::byte* in[kQuantPanelRows];
  for (int64_t i = 0; i < kQuantPanelRows; ++i) {
    const auto last = static_cast<int64_t>(neurons.size()) - 1;
    in[i] = w.record(neurons[std::min(i, last)]);
  }
  Prefetcher prefetcher(w, next);
  const int64_t records = QuantRecords(w.width);
  const int64_t record_bytes = QuantRecordBytes(w.dtype);
  const int64_t codes = QuantCodeBytes(w.dtype) / kQuantPanelRows;
  for (int64_t r = 0; r < records; ++r) {
    prefetcher.Step();
    std::byte* out = panel + r * record_bytes;
    for (int64_t at = 0; at < codes; at += kVector) {
      for (int64_t group = 0; group < kQuantPanelRows / 4; ++group) {
        TransposeWords(in + group * 4, r * codes + at,
                       out + at / kWordBytes * kWordRowBytes + group * kVector);
      }
    }
  }
  if (w.dtype == DType::kInt4) {
    for (int64_t r = 0; r < records; r += kRecordsOfGrids) {
      GatherGrids(in, records * codes + r * kQuantRecordBlocks,
                  std::min(kRecordsOfGrids, records - r),
                  panel + r * record_bytes + QuantCodeBytes(w.dtype));
    }
  }
  std::byte* scales = panel + QuantScaleOffset(w.dtype, records);
  const int64_t scale =
      NeuronCodeBytes(w.dtype, w.width) + NeuronGridBytes(w.dtype, w.width);
  for (int64_t i = 0; i < kQuantPanelRows; ++i) {
    std::memcpy(scales + i * int64_t{sizeof(float)}, in[i] + scale,
                sizeof(float));
  }
}

}  // namespace lapidary::kernels
