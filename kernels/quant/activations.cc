#include "kernels/quant/activations.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/parallel.h"

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quant/activations.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Vectors of up to 16 floats: 32 are a whole number of them.
using F = hn::CappedTag<float, 16>;
using I = hn::RebindToSigned<F>;

// Below it, 127 / max is not a number that f32 holds well.
constexpr float kTiny = 1e-30f;

// The bits of the largest |x| of 128, which order as the numbers do, infinities
// and NaNs above all: a maximum that is the same in any order.
HWY_INLINE int32_t MaxMagnitudeBits(const float* x) {
  const F d;
  const I di;
  auto most = hn::Zero(di);
  for (int64_t i = 0; i < kQuantRecordDepth; i += hn::Lanes(d)) {
    most = hn::Max(most, hn::BitCast(di, hn::Abs(hn::LoadU(d, x + i))));
  }
  return hn::GetLane(hn::MaxOfLanes(di, most));
}

// codes = round(x · inverse) of a block; returns their sum.
HWY_INLINE int32_t EncodeBlock(const float* x, float inverse, int8_t* codes) {
  const F d;
  const I di;
  const hn::Rebind<int8_t, F> d8;
  auto sum = hn::Zero(di);
  for (int64_t i = 0; i < kQuantBlock; i += hn::Lanes(d)) {
    const auto code =
        hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse)));
    sum = hn::Add(sum, code);
    hn::StoreU(hn::DemoteTo(d8, code), d8, codes + i);
  }
  return hn::GetLane(hn::SumOfLanes(di, sum));
}

// Quantises one record of a row and lays it between its neighbours' of the
// tile.
//   tile  the tile's record
template <TileLayout kLayout>
void QuantizeRecord(const float* x, int64_t row, int64_t tile_rows,
                    std::byte* tile) {
  const int32_t bits = MaxMagnitudeBits(x);
  float peak;
  std::memcpy(&peak, &bits, sizeof(peak));
  HWY_ALIGN int8_t codes[kQuantRecordDepth] = {};
  float scale = 0;
  int32_t start = 0;
  int32_t sums[kQuantRecordBlocks] = {};
  if (!(peak <= std::numeric_limits<float>::max())) {
    scale = std::numeric_limits<float>::quiet_NaN();
  } else if (peak >= kTiny) {
    scale = peak / 127.0f;
    for (int64_t block = 0; block < kQuantRecordBlocks; ++block) {
      const int64_t first = block * kQuantBlock;
      sums[block] = EncodeBlock(x + first, 127.0f / peak, codes + first);
      start -= 128 * sums[block];
    }
  }
  if (kLayout == TileLayout::kRows) {
    std::memcpy(tile + QuadOffset(kLayout, tile_rows, row, 0), codes,
                sizeof(codes));
  } else {
    for (int64_t quad = 0; quad < kQuantRecordDepth / 4; ++quad) {
      std::memcpy(tile + QuadOffset(kLayout, tile_rows, row, quad),
                  codes + quad * 4, 4);
    }
  }
  std::memcpy(tile + ScaleOffset(tile_rows, row), &scale, sizeof(scale));
  std::memcpy(tile + StartOffset(tile_rows, row), &start, sizeof(start));
  for (int64_t block = 0; block < kQuantRecordBlocks; ++block) {
    std::memcpy(tile + SumOffset(tile_rows, row, block), &sums[block],
                sizeof(sums[block]));
  }
}

// Quantises `count` numbers of a row, whose first is a record's.
//   tile  that record of the tile
template <TileLayout kLayout>
void QuantizeRecords(const float* x, int64_t count, int64_t row,
                     int64_t tile_rows, std::byte* tile) {
  const int64_t record_bytes = tile_rows * kTileRecordRowBytes;
  int64_t i = 0;
  for (; i + kQuantRecordDepth <= count; i += kQuantRecordDepth) {
    QuantizeRecord<kLayout>(x + i, row, tile_rows, tile);
    tile += record_bytes;
  }
  if (i < count) {
    HWY_ALIGN float padded[kQuantRecordDepth] = {};
    std::memcpy(padded, x + i, (count - i) * sizeof(float));
    QuantizeRecord<kLayout>(padded, row, tile_rows, tile);
  }
}

void QuantizeTileRow(TileLayout layout, const float* x, int64_t count,
                     int64_t row, int64_t tile_rows, std::byte* tile) {
  if (layout == TileLayout::kRows) {
    QuantizeRecords<TileLayout::kRows>(x, count, row, tile_rows, tile);
  } else {
    QuantizeRecords<TileLayout::kQuads>(x, count, row, tile_rows, tile);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(QuantizeTileRow);

void QuantTiles::Put(int64_t row, int64_t first, const float* x, int64_t count,
                     const ProductKernels& kernels) const {
  // Row r is in the last tile that begins at or before it.
  const int64_t index = ((row + 1) * tiles() - 1) / rows_;
  const int64_t begin = FirstRow(index);
  const int64_t tile_rows = FirstRow(index + 1) - begin;
  HWY_DYNAMIC_DISPATCH(QuantizeTileRow)
  (kernels.layout, x, count, row - begin, tile_rows,
   data_ + begin * RowBytes() +
       first / kQuantRecordDepth * tile_rows * kTileRecordRowBytes);
}

QuantTiles::Tile QuantTiles::tile(int64_t index) const {
  const int64_t first = FirstRow(index);
  return {first, FirstRow(index + 1) - first, data_ + first * RowBytes()};
}

void QuantRows::Quantize(ConstMatrixView x, const ProductKernels& kernels) {
  const size_t bytes = x.rows * QuantActivationBytes(x.cols);
  static_cast<QuantTiles&>(*this) = {x.rows, x.cols,
                                     scratch_.Room<std::byte>(bytes)};
  ParallelFor(x.rows,
              [&](int64_t row) { Put(row, 0, x.row(row), x.cols, kernels); });
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
