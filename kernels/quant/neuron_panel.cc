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

// Eight scales of each of eight neurons: out[j] has the neurons' scales j.
void TransposeScales(const std::byte* const* in, int64_t offset,
                     uint16_t (*out)[8]) {
  __m128i low[4], high[4];  // of pairs of neurons: scales 0-3, scales 4-7
  for (int i = 0; i < 4; ++i) {
    const __m128i a = Load(in[2 * i] + offset);
    const __m128i b = Load(in[2 * i + 1] + offset);
    low[i] = _mm_unpacklo_epi16(a, b);
    high[i] = _mm_unpackhi_epi16(a, b);
  }
  for (const __m128i* pairs : {low, high}) {
    const __m128i first_low = _mm_unpacklo_epi32(pairs[0], pairs[1]);
    const __m128i first_high = _mm_unpackhi_epi32(pairs[0], pairs[1]);
    const __m128i last_low = _mm_unpacklo_epi32(pairs[2], pairs[3]);
    const __m128i last_high = _mm_unpackhi_epi32(pairs[2], pairs[3]);
    Store(_mm_unpacklo_epi64(first_low, last_low), *out++);
    Store(_mm_unpackhi_epi64(first_low, last_low), *out++);
    Store(_mm_unpacklo_epi64(first_high, last_high), *out++);
    Store(_mm_unpackhi_epi64(first_high, last_high), *out++);
  }
}

// The scales of four panel records, of which `count` are there.
void GatherScales(const std::byte* const* in, int64_t offset, int64_t count,
                  int64_t record_bytes, std::byte* out) {
  alignas(kVector) uint16_t scales[2][8][8];
  TransposeScales(in, offset, scales[0]);
  TransposeScales(in + 8, offset, scales[1]);
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t block = 0; block < kQuantRecordBlocks; ++block) {
      std::byte* to =
          out + r * record_bytes + block * kQuantPanelRows * sizeof(uint16_t);
      for (int64_t half = 0; half < 2; ++half) {
        std::memcpy(to + half * kVector,
                    scales[half][r * kQuantRecordBlocks + block], kVector);
      }
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
        TransposeWords(
            in + group * 4, r * codes + at,
            out + at / kWordBytes * kWordRowBytes + group * kVector);
      }
    }
  }
  constexpr int64_t kRecordsTogether = 4;
  const int64_t scale_bytes = kQuantRecordBlocks * sizeof(uint16_t);
  for (int64_t r = 0; r < records; r += kRecordsTogether) {
    GatherScales(in, records * codes + r * scale_bytes,
                 std::min(kRecordsTogether, records - r), record_bytes,
                 panel + r * record_bytes + QuantCodeBytes(w.dtype));
  }
}

}  // namespace lapidary::kernels
