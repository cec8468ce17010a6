// The order of a block-quantised weight matrix in memory and in the packed
// model's files: panels of 16 output rows, so that each lane of a vector is a
// row, an activation is broadcast to all, and no sum crosses lanes.
//
//   source  [n][k]   row-major, y = W x (PyTorch's [out, in])
//   packed  [ceil(n/16) panels][ceil(k/64) records]
//
// A record is 16 rows of 64 k: codes, then scales. Every 32 k of a row are a
// block and share a scale: weight = scale · (code - offset).
//
//           offset   codes                                     scales (fp16)
//   int8    128      u8  [16 quads of k][16 rows][4 k]         [2 blocks][16]
//   int4    8        u4  [2 blocks][4][16 rows][4 k], each     [2 blocks][16]
//                    byte quad q of its block in the low four
//                    bits and quad q + 4 in the high ones
//
// So a record is 17 or 9 cache lines. What pads n and k has the scale 0.
#ifndef LAPIDARY_KERNELS_QUANT_QUANT_LAYOUT_H_
#define LAPIDARY_KERNELS_QUANT_QUANT_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernels/tensor.h"

namespace lapidary::kernels {

inline constexpr int64_t kQuantPanelRows = 16;
inline constexpr int64_t kQuantBlock = 32;
inline constexpr int64_t kQuantRecordDepth = 64;
inline constexpr int64_t kQuantRecordBlocks = kQuantRecordDepth / kQuantBlock;
inline constexpr int64_t kQuantScaleBytes =
    kQuantRecordBlocks * kQuantPanelRows * 2;

// Below, `dtype` is kInt8 or kInt4.
constexpr bool IsQuantized(DType dtype) {
  return dtype == DType::kInt8 || dtype == DType::kInt4;
}

// The code that stands for a weight of zero.
constexpr int CodeOffset(DType dtype) {
  return dtype == DType::kInt4 ? 8 : 128;
}

// Bytes of a record's codes, and of the whole record.
constexpr int64_t QuantCodeBytes(DType dtype) {
  const int64_t codes = kQuantPanelRows * kQuantRecordDepth;
  return dtype == DType::kInt4 ? codes / 2 : codes;
}
constexpr int64_t QuantRecordBytes(DType dtype) {
  return QuantCodeBytes(dtype) + kQuantScaleBytes;
}

// Panels that hold n rows, records that hold k columns.
constexpr int64_t QuantPanels(int64_t n) {
  return n / kQuantPanelRows + (n % kQuantPanelRows != 0);
}
constexpr int64_t QuantRecords(int64_t k) {
  return k / kQuantRecordDepth + (k % kQuantRecordDepth != 0);
}

// Bytes of one panel, and of a whole [n][k] matrix; nothing for sizes below 1
// and those whose bytes no size_t holds: sizes may come from a hostile file.
std::optional<size_t> QuantPanelBytes(DType dtype, int64_t k);
std::optional<size_t> QuantMatrixBytes(DType dtype, int64_t n, int64_t k);

// Writes the codes and the scale of one block.
//   panel  QuantPanelBytes(dtype, k) bytes
//   row    in the panel
//   block  number of the block in the row: k / 32
//   codes  [32]  weights in units of the scale: int8 ±127, int4 -8 … 7
void StoreQuantBlock(DType dtype, void* panel, int64_t row, int64_t block,
                     const int8_t* codes, uint16_t scale);

// Reads row `n` of a packed [*][k] matrix back as f32: how an embedding row is
// taken from the tied head.
//   row  [k]
void DequantizeRow(DType dtype, const void* matrix, int64_t n, int64_t k,
                   float* row);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_QUANT_LAYOUT_H_
