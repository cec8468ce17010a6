// Plain C++, for CPUs without AVX2, and the form in which to read what the
// others do.

#include <cmath>
#include <cstring>

#include "kernels/quant/activation_tile.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/quant/quant_layout.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kQuads = kQuantRecordDepth / 4;
constexpr int64_t kBlockQuads = kQuantBlock / 4;
constexpr int64_t kQuadBytes = kQuantPanelRows * 4;

template <typename T>
T Read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// The record's weights as integers + 128: [32 quads][16 rows][4 k].
template <DType kType>
void LoadRecord(const std::byte* record, uint8_t (*quads)[kQuadBytes]) {
  if (kType == DType::kInt8) {
    std::memcpy(quads, record, kQuads * kQuadBytes);
    return;
  }
  const auto* codes = reinterpret_cast<const uint8_t*>(record);
  const uint8_t* grids = codes + QuantCodeBytes(kType);
  for (int64_t quad = 0; quad < kQuads; ++quad) {
    const int64_t block = quad / kBlockQuads, in_block = quad % kBlockQuads;
    constexpr int64_t kHalf = kBlockQuads / 2;
    const uint8_t* both =
        codes + (block * kHalf + in_block % kHalf) * kQuadBytes;
    for (int64_t i = 0; i < kQuadBytes; ++i) {
      const CodeGrid grid = UnpackGrid(grids[block * kQuantPanelRows + i / 4]);
      const int code = in_block < kHalf ? both[i] & 0xF : both[i] >> 4;
      quads[quad][i] =
          static_cast<uint8_t>(128 + grid.multiplier * (code - grid.zero));
    }
  }
}

// Adds one record to a row's sums.
//   tile  its record
//   sums  [16]
void AddRecord(const uint8_t (*quads)[kQuadBytes], const std::byte* tile,
               int64_t tile_rows, int64_t tile_row, float* sums) {
  const auto scale = Read<float>(tile + ScaleOffset(tile_rows, tile_row));
  const auto start = Read<int32_t>(tile + StartOffset(tile_rows, tile_row));
  int32_t dots[kQuantPanelRows];
  for (int32_t& dot : dots) dot = start;
  for (int64_t quad = 0; quad < kQuads; ++quad) {
    int8_t x[4];
    std::memcpy(
        x, tile + QuadOffset(TileLayout::kQuads, tile_rows, tile_row, quad),
        sizeof(x));
    for (int64_t row = 0; row < kQuantPanelRows; ++row) {
      const uint8_t* w = &quads[quad][row * 4];
      dots[row] += w[0] * x[0] + w[1] * x[1] + w[2] * x[2] + w[3] * x[3];
    }
  }
  for (int64_t row = 0; row < kQuantPanelRows; ++row) {
    sums[row] = std::fma(static_cast<float>(dots[row]), scale, sums[row]);
  }
}

template <DType kType>
void MultiplyPanel(const TileProduct& p, const PanelProduct& by) {
  const int64_t tile_record_bytes = p.tile_rows * kTileRecordRowBytes;
  float sums[kMaxTileRows][kQuantPanelRows] = {};
  for (int64_t r = 0; r < p.records; ++r) {
    uint8_t quads[kQuads][kQuadBytes];
    LoadRecord<kType>(by.panel + r * QuantRecordBytes(kType), quads);
    for (int64_t row = 0; row < p.tile_rows; ++row) {
      AddRecord(quads, p.tile + r * tile_record_bytes, p.tile_rows, row,
                sums[row]);
    }
  }
  const std::byte* scales = by.panel + QuantScaleOffset(kType, p.records);
  for (int64_t row = 0; row < p.tile_rows; ++row) {
    for (int64_t column = 0; column < by.columns; ++column) {
      by.out[row * p.out_stride + column] =
          sums[row][column] * Read<float>(scales + column * 4);
    }
  }
}

template <DType kType>
void Multiply(const TileProduct& p) {
  const int64_t panel_bytes = QuantPanelSize(kType, p.records);
  for (int64_t i = 0; i < p.panel_count; ++i) {
    MultiplyPanel<kType>(p, PanelOf(p, i, panel_bytes));
  }
}

constexpr ProductKernels kKernels = {"portable", TileLayout::kQuads,
                                     Multiply<DType::kInt8>,
                                     Multiply<DType::kInt4>, nullptr};

}  // namespace

const ProductKernels* PortableProductKernels() { return &kKernels; }

}  // namespace lapidary::kernels
