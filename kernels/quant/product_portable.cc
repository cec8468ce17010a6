// Plain C++, for CPUs without AVX2, and the form in which to read what the
// others do.

#include <cmath>
#include <cstring>

#include "kernels/half.h"
#include "kernels/quant/activations.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/quant/quant_layout.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kQuads = kQuantBlock / 4;
constexpr int64_t kQuadBytes = kQuantPanelRows * 4;

template <typename T>
T Read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// The block's weights as they are stored: [8 quads][16 rows][4 k].
template <DType kType>
void LoadBlock(const std::byte* codes, uint8_t (*quads)[kQuadBytes]) {
  if (kType == DType::kInt8) {
    std::memcpy(quads, codes, kQuads * kQuadBytes);
    return;
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(codes);
  for (int64_t quad = 0; quad < kQuads / 2; ++quad) {
    for (int64_t i = 0; i < kQuadBytes; ++i) {
      const uint8_t byte = bytes[quad * kQuadBytes + i];
      quads[quad][i] = byte & 0xF;
      quads[quad + kQuads / 2][i] = byte >> 4;
    }
  }
}

// Adds one block to a row's sums.
//   at    the row's place in the tile's block
//   sums  [16]
template <DType kType>
void AddBlock(const uint8_t (*quads)[kQuadBytes], const std::byte* scales,
              const std::byte* at, int64_t tile_rows, float* sums) {
  const std::byte* numbers = at + tile_rows * kQuantBlock;
  const auto x_scale = Read<float>(numbers);
  const auto offset =
      Read<int32_t>(numbers + tile_rows * int64_t{sizeof(x_scale)});
  int32_t dots[kQuantPanelRows];
  for (int32_t& dot : dots) dot = offset * (CodeOffset(kType) / 8);
  for (int64_t quad = 0; quad < kQuads; ++quad) {
    int8_t x[4];
    std::memcpy(x, at + quad * tile_rows * 4, sizeof(x));
    for (int64_t row = 0; row < kQuantPanelRows; ++row) {
      const uint8_t* w = &quads[quad][row * 4];
      dots[row] += w[0] * x[0] + w[1] * x[1] + w[2] * x[2] + w[3] * x[3];
    }
  }
  for (int64_t row = 0; row < kQuantPanelRows; ++row) {
    const float scale = HalfToFloat(Read<uint16_t>(scales + row * 2)) * x_scale;
    sums[row] = std::fma(static_cast<float>(dots[row]), scale, sums[row]);
  }
}

template <DType kType>
void MultiplyTile(const TileProduct& p) {
  const int64_t block_bytes = p.tile_rows * kTileBlockRowBytes;
  float sums[kMaxTileRows][kQuantPanelRows] = {};
  const std::byte* block = p.tile;
  for (int64_t r = 0; r < p.records; ++r) {
    const std::byte* record = p.panel + r * QuantRecordBytes(kType);
    for (int64_t half = 0; half < kQuantRecordBlocks; ++half) {
      uint8_t quads[kQuads][kQuadBytes];
      LoadBlock<kType>(
          record + half * QuantCodeBytes(kType) / kQuantRecordBlocks, quads);
      const std::byte* scales =
          record + QuantCodeBytes(kType) + half * kQuantPanelRows * 2;
      for (int64_t row = 0; row < p.tile_rows; ++row) {
        AddBlock<kType>(quads, scales, block + row * 4, p.tile_rows, sums[row]);
      }
      block += block_bytes;
    }
  }
  for (int64_t row = 0; row < p.tile_rows; ++row) {
    std::memcpy(p.out + row * p.out_stride, sums[row],
                p.columns * sizeof(float));
  }
}

constexpr ProductKernels kKernels = {"portable", MultiplyTile<DType::kInt8>,
                                     MultiplyTile<DType::kInt4>};

}  // namespace

const ProductKernels* PortableProductKernels() { return &kKernels; }

}  // namespace lapidary::kernels
