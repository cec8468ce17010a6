#include "kernels/quant/neuron_sum.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/parallel.h"
#include "kernels/scratch.h"

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quant/neuron_sum.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format on

#ifndef LAPIDARY_KERNELS_QUANT_NEURON_SUM_TILE_
#define LAPIDARY_KERNELS_QUANT_NEURON_SUM_TILE_
namespace lapidary::kernels {

// Columns that are summed together: a record, a cache line of int4 codes.
inline constexpr int64_t kTileColumns = kQuantRecordDepth;

// One tile of some neurons, and the sums of all rows that it is added to.
struct ChunkTile {
  NeuronMatrix w;
  const ActiveNeurons* active = nullptr;
  int64_t tile = 0;
  int64_t first_place = 0;
  int64_t count = 0;    // neurons
  int64_t to_come = 0;  // neurons after these
  // Of each row, its neurons among these: [begins[row], ends[row]) of places.
  const int32_t* begins = nullptr;
  const int32_t* ends = nullptr;
  float* weights = nullptr;  // [count][128]: scratch
  float* sums = nullptr;     // [rows][128], rows sum_stride apart
  int64_t sum_stride = 0;
};

}  // namespace lapidary::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Vectors of up to 16 floats: half a block is a whole number of them.
using F = hn::CappedTag<float, 16>;

// weights = step · code - offset: at most 20 bits, so each step is exact.
template <class V>
HWY_INLINE void StoreWeights(V codes, float step, float offset, float* out) {
  const F d;
  hn::Store(
      hn::MulSub(hn::ConvertTo(d, codes), hn::Set(d, step), hn::Set(d, offset)),
      d, out);
}

// What a block's codes become: step · code - offset.
struct alignas(16) BlockSteps {
  float steps[kQuantRecordBlocks], offsets[kQuantRecordBlocks];

  HWY_INLINE BlockSteps(const std::byte* grids, float scale) {
    const hn::CappedTag<float, kQuantRecordBlocks> d;
    const hn::RebindToSigned<decltype(d)> di;
    const hn::Rebind<uint8_t, decltype(d)> d8;
    const auto* bytes = reinterpret_cast<const uint8_t*>(grids);
    for (int64_t i = 0; i < kQuantRecordBlocks; i += hn::Lanes(d)) {
      const auto grid = hn::PromoteTo(di, hn::LoadU(d8, bytes + i));
      const auto multiplier = hn::And(grid, hn::Set(di, 0xF));
      const auto zero = hn::Sub(hn::Set(di, 8), hn::ShiftRight<7>(grid));
      const auto step =
          hn::Mul(hn::Set(d, scale), hn::ConvertTo(d, multiplier));
      hn::Store(step, d, steps + i);
      hn::Store(hn::Mul(step, hn::ConvertTo(d, zero)), d, offsets + i);
    }
  }
};

HWY_INLINE void DecodeInt4Block(const uint8_t* codes, float step, float offset,
                                float* out) {
  const hn::RebindToSigned<F> di;
  const hn::Rebind<uint8_t, F> d8;
  constexpr int64_t kHalf = kQuantBlock / 2;
  for (int64_t i = 0; i < kHalf; i += hn::Lanes(di)) {
    const auto both = hn::PromoteTo(di, hn::LoadU(d8, codes + i));
    StoreWeights(hn::And(both, hn::Set(di, 0xF)), step, offset, out + i);
    StoreWeights(hn::ShiftRight<4>(both), step, offset, out + kHalf + i);
  }
}

HWY_INLINE void DecodeInt8(const uint8_t* codes, float scale, float* out) {
  const hn::RebindToSigned<F> di;
  const hn::Rebind<uint8_t, F> d8;
  const float offset = scale * static_cast<float>(kInt8Grid.zero);
  for (int64_t i = 0; i < kTileColumns; i += hn::Lanes(di)) {
    StoreWeights(hn::PromoteTo(di, hn::LoadU(d8, codes + i)), scale, offset,
                 out + i);
  }
}

// Columns [tile · 128, + 128) of a record.
//   codes, grids  of the tile
//   weights       [128]
template <DType kType>
HWY_INLINE void DecodeTile(const std::byte* codes, const std::byte* grids,
                           float scale, float* weights) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(codes);
  if (kType == DType::kInt8) return DecodeInt8(bytes, scale, weights);
  const BlockSteps of(grids, scale);
  for (int64_t block = 0; block < kQuantRecordBlocks; ++block) {
    DecodeInt4Block(bytes + block * kQuantBlock / 2, of.steps[block],
                    of.offsets[block], weights + block * kQuantBlock);
  }
}

// Decodes a tile of the chunk's neurons, and asks memory for the next chunk's.
template <DType kType>
HWY_INLINE void DecodeChunk(const ChunkTile& c) {
  constexpr int64_t kLine = 64;
  constexpr int64_t kCodeBytes =
      kType == DType::kInt4 ? kTileColumns / 2 : kTileColumns;
  const int64_t record_bytes = NeuronBytes(kType, c.w.width);
  const std::byte* codes = c.w.data + c.tile * kCodeBytes;
  const std::byte* grids = c.w.data + NeuronCodeBytes(kType, c.w.width) +
                           c.tile * kQuantRecordBlocks;
  const int32_t* neurons = c.active->neurons().data() + c.first_place;
  for (int64_t i = 0; i < c.count; ++i) {
    if (i < c.to_come) {
      const int64_t next = neurons[c.count + i] * record_bytes;
      for (int64_t at = 0; at < kCodeBytes; at += kLine) {
        __builtin_prefetch(codes + next + at);
      }
      __builtin_prefetch(grids + next);
    }
    const int64_t at = neurons[i] * record_bytes;
    DecodeTile<kType>(codes + at, grids + at, c.w.scale(neurons[i]),
                      c.weights + i * kTileColumns);
  }
}

// sums += Σ values[i] · weights[places[i] - first_place], in order.
//   weights  [neurons of the chunk][128]
//   sums     [128]
HWY_INLINE void AddNeurons(const float* weights, int64_t first_place,
                           const int32_t* places, const float* values,
                           int64_t count, float* sums) {
#if HWY_NATIVE_FMA
  const F d;
  constexpr int64_t kSums = 8;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t column = 0; column < kTileColumns; column += kSums * lanes) {
    float* at = sums + column;
    auto s0 = hn::Load(d, at), s1 = hn::Load(d, at + lanes),
         s2 = hn::Load(d, at + 2 * lanes), s3 = hn::Load(d, at + 3 * lanes),
         s4 = hn::Load(d, at + 4 * lanes), s5 = hn::Load(d, at + 5 * lanes),
         s6 = hn::Load(d, at + 6 * lanes), s7 = hn::Load(d, at + 7 * lanes);
    for (int64_t i = 0; i < count; ++i) {
      const auto a = hn::Set(d, values[i]);
      const float* w =
          weights + (places[i] - first_place) * kTileColumns + column;
      s0 = hn::MulAdd(a, hn::Load(d, w), s0);
      s1 = hn::MulAdd(a, hn::Load(d, w + lanes), s1);
      s2 = hn::MulAdd(a, hn::Load(d, w + 2 * lanes), s2);
      s3 = hn::MulAdd(a, hn::Load(d, w + 3 * lanes), s3);
      s4 = hn::MulAdd(a, hn::Load(d, w + 4 * lanes), s4);
      s5 = hn::MulAdd(a, hn::Load(d, w + 5 * lanes), s5);
      s6 = hn::MulAdd(a, hn::Load(d, w + 6 * lanes), s6);
      s7 = hn::MulAdd(a, hn::Load(d, w + 7 * lanes), s7);
    }
    hn::Store(s0, d, at);
    hn::Store(s1, d, at + lanes);
    hn::Store(s2, d, at + 2 * lanes);
    hn::Store(s3, d, at + 3 * lanes);
    hn::Store(s4, d, at + 4 * lanes);
    hn::Store(s5, d, at + 5 * lanes);
    hn::Store(s6, d, at + 6 * lanes);
    hn::Store(s7, d, at + 7 * lanes);
  }
#else
  // A product that is rounded before it is added is another number.
  for (int64_t i = 0; i < count; ++i) {
    const float* w = weights + (places[i] - first_place) * kTileColumns;
    for (int64_t column = 0; column < kTileColumns; ++column) {
      sums[column] = std::fma(values[i], w[column], sums[column]);
    }
  }
#endif
}

void SumChunk(const ChunkTile& c) {
  if (c.w.dtype == DType::kInt4) {
    DecodeChunk<DType::kInt4>(c);
  } else {
    DecodeChunk<DType::kInt8>(c);
  }
  for (int64_t row = 0; row < c.active->rows(); ++row) {
    const int32_t begin = c.begins[row];
    const int32_t count = c.ends[row] - begin;
    if (count == 0) continue;
    AddNeurons(c.weights, c.first_place, c.active->places(row).data() + begin,
               c.active->values(row).data() + begin, count,
               c.sums + row * c.sum_stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(SumChunk);

namespace {

// Neurons that are decoded together: for few rows, as many as L1 holds beside
// those that are on their way; for many, enough that a row has some of them.
constexpr int64_t kFewRows = 4;
constexpr int64_t kSmallChunk = 8;
constexpr int64_t kLargeChunk = 64;

// Sums of so many bytes stay in L2 beside a chunk.
constexpr int64_t kSumsBytes = 256 << 10;

// Weight bytes from which waking a team costs less than it gains.
constexpr int64_t kTeamBytes = 32 << 10;

// One call of SumNeurons; what its threads share.
class Summation {
 public:
  Summation(const NeuronMatrix& w, const ActiveNeurons& active, MatrixView out)
      : w_(w),
        active_(active),
        out_(out),
        count_(static_cast<int64_t>(active.neurons().size())),
        chunk_(out.rows <= kFewRows ? kSmallChunk : kLargeChunk),
        chunks_((count_ + chunk_ - 1) / chunk_) {
    FindChunks();
  }

  int64_t tiles() const { return (w_.width + kTileColumns - 1) / kTileColumns; }
  bool worth_a_team() const {
    return count_ * NeuronBytes(w_.dtype, w_.width) >= kTeamBytes;
  }

  void SumTiles(int64_t first, int64_t last) const {
    const int64_t together = std::max<int64_t>(
        1, kSumsBytes / (out_.rows * kTileColumns * int64_t{sizeof(float)}));
    for (int64_t tile = first; tile < last; tile += together) {
      SumTogether(tile, std::min(last, tile + together));
    }
  }

 private:
  // Which of its neurons a row has in each chunk: those in
  // [bounds_[chunk][row], bounds_[chunk + 1][row]).
  void FindChunks() {
    bounds_.resize((chunks_ + 1) * out_.rows);
    ParallelFor(out_.rows, [&](int64_t row) {
      const absl::Span<const int32_t> places = active_.places(row);
      int64_t at = 0;
      bounds_[row] = 0;
      for (int64_t chunk = 1; chunk <= chunks_; ++chunk) {
        const int64_t end = chunk * chunk_;
        while (at < static_cast<int64_t>(places.size()) && places[at] < end) {
          ++at;
        }
        bounds_[chunk * out_.rows + row] = static_cast<int32_t>(at);
      }
    });
  }

  // Tiles [first, last), whose sums of all rows stay in the cache.
  void SumTogether(int64_t first, int64_t last) const {
    thread_local Scratch sums_scratch, weights_scratch;
    const int64_t stride = (last - first) * kTileColumns;
    auto* sums = sums_scratch.Room<float>(out_.rows * stride);
    auto* weights = weights_scratch.Room<float>(chunk_ * kTileColumns);
    std::fill(sums, sums + out_.rows * stride, 0.0f);
    for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
      ChunkTile c;
      c.w = w_;
      c.active = &active_;
      c.first_place = chunk * chunk_;
      c.count = std::min(chunk_, count_ - c.first_place);
      c.to_come = count_ - c.first_place - c.count;
      c.begins = &bounds_[chunk * out_.rows];
      c.ends = c.begins + out_.rows;
      c.weights = weights;
      c.sum_stride = stride;
      for (c.tile = first; c.tile < last; ++c.tile) {
        c.sums = sums + (c.tile - first) * kTileColumns;
        HWY_DYNAMIC_DISPATCH(SumChunk)(c);
      }
    }
    const int64_t column = first * kTileColumns;
    const int64_t columns = std::min(stride, w_.width - column);
    for (int64_t row = 0; row < out_.rows; ++row) {
      std::memcpy(out_.row(row) + column, sums + row * stride,
                  columns * sizeof(float));
    }
  }

  const NeuronMatrix& w_;
  const ActiveNeurons& active_;
  const MatrixView out_;
  const int64_t count_;  // of active neurons
  const int64_t chunk_;  // neurons of one
  const int64_t chunks_;
  std::vector<int32_t> bounds_;  // [chunks + 1][rows]
};

}  // namespace

void SumNeurons(const NeuronMatrix& w, const ActiveNeurons& active,
                MatrixView out) {
  if (out.rows == 0) return;
  const Summation sum(w, active, out);
  ParallelRanges(
      sum.tiles(), sum.worth_a_team(),
      [&](int64_t first, int64_t last) { sum.SumTiles(first, last); });
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
