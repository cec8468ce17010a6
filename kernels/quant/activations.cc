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

// Quantises one record and lays it between its neighbours' of the tile.
//   out  the row's place in the tile's record
void QuantizeRecord(const float* x, int64_t tile_rows, std::byte* out) {
  const int32_t bits = MaxMagnitudeBits(x);
  float peak;
  std::memcpy(&peak, &bits, sizeof(peak));
  HWY_ALIGN int8_t codes[kQuantRecordDepth] = {};
  float scale = 0;
  int32_t numbers[1 + kQuantRecordBlocks] = {};  // start, sums
  if (!(peak <= std::numeric_limits<float>::max())) {
    scale = std::numeric_limits<float>::quiet_NaN();
  } else if (peak >= kTiny) {
    scale = peak / 127.0f;
    for (int64_t block = 0; block < kQuantRecordBlocks; ++block) {
      const int64_t first = block * kQuantBlock;
      const int32_t sum = EncodeBlock(x + first, 127.0f / peak, codes + first);
      numbers[1 + block] = sum;
      numbers[0] -= 128 * sum;
    }
  }
  for (int64_t quad = 0; quad < kQuantRecordDepth / 4; ++quad) {
    std::memcpy(out + quad * tile_rows * 4, codes + quad * 4, 4);
  }
  out += tile_rows * kQuantRecordDepth;
  std::memcpy(out, &scale, sizeof(scale));
  for (const int32_t& number : numbers) {
    out += tile_rows * 4;
    std::memcpy(out, &number, sizeof(number));
  }
}

//   out  the row's place in the tile
void QuantizeRow(const float* x, int64_t k, int64_t tile_rows, std::byte* out) {
  const int64_t record_bytes = tile_rows * kTileRecordRowBytes;
  int64_t i = 0;
  for (; i + kQuantRecordDepth <= k; i += kQuantRecordDepth) {
    QuantizeRecord(x + i, tile_rows, out);
    out += record_bytes;
  }
  if (i < k) {
    HWY_ALIGN float padded[kQuantRecordDepth] = {};
    std::memcpy(padded, x + i, (k - i) * sizeof(float));
    QuantizeRecord(padded, tile_rows, out);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(QuantizeRow);

void QuantRows::Quantize(ConstMatrixView x) {
  rows_ = x.rows;
  k_ = x.cols;
  auto* tiles_data = scratch_.Room<std::byte>(rows_ * RowBytes());
  ParallelFor(rows_, [&](int64_t row) {
    // Row r is in the last tile that begins at or before it.
    const int64_t index = ((row + 1) * tiles() - 1) / rows_;
    const int64_t first = FirstRow(index);
    const int64_t tile_rows = FirstRow(index + 1) - first;
    const int64_t in_tile = row - first;
    // All that is a row's begins four bytes after its neighbour's.
    std::byte* out = tiles_data + first * RowBytes() + in_tile * 4;
    HWY_DYNAMIC_DISPATCH(QuantizeRow)(x.row(row), k_, tile_rows, out);
  });
}

QuantRows::Tile QuantRows::tile(int64_t index) const {
  const int64_t first = FirstRow(index);
  return {first, FirstRow(index + 1) - first,
          scratch_.data() + first * RowBytes()};
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
