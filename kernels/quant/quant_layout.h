// The order of a quantised weight matrix in memory and in the packed model's
// files: panels of 16 output rows, so that each lane of a vector is a row, an
// activation is broadcast to all, and no sum crosses lanes.
//
//   source  [n][k]   row-major, y = W x (PyTorch's [out, in])
//   packed  [ceil(n/16) panels]
//   panel   [ceil(k/128) records], then the rows' scales, f32 [16]
//
// A row has one scale. In int4 every 32 k of it are a block, whose step is a
// small multiple of that scale, an integer, so that a dot product stays one of
// integers for as long as the activations share a scale:
//
//   int8  weight = scale · (code - 128)
//   int4  weight = scale · multiplier · (code - zero)
//         multiplier 0 … 15;  zero 8 or 7: the codes reach further down or up
//
// A record is 16 rows of 128 k.
//
//           codes                                          grids
//   int8    u8  [32 quads of k][16 rows][4 k]              -
//   int4    u4  [4 blocks][4][16 rows][4 k], each byte     u8 [4 blocks][16]
//               quad q of its block in the low four bits
//               and quad q + 4 in the high ones
//
// So a record is 32 or 17 cache lines. A grid has the block's multiplier in the
// low four bits and 8 - zero in the highest. A scale has 12 significant bits: a
// weight is exact in f32, however it is computed. What pads n has the scale 0,
// what pads k is 0.
#ifndef LAPIDARY_KERNELS_QUANT_QUANT_LAYOUT_H_
#define LAPIDARY_KERNELS_QUANT_QUANT_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernels/quant/quantized_row.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

inline constexpr int64_t kQuantPanelRows = 16;
inline constexpr int64_t kQuantPanelScaleBytes =
    kQuantPanelRows * int64_t{sizeof(float)};

// Bytes of a record's codes, and of the whole record. Here and below, `dtype`
// is kInt8 or kInt4.
constexpr int64_t QuantCodeBytes(DType dtype) {
  const int64_t codes = kQuantPanelRows * kQuantRecordDepth;
  return dtype == DType::kInt4 ? codes / 2 : codes;
}
constexpr int64_t QuantRecordBytes(DType dtype) {
  const int64_t grids =
      dtype == DType::kInt4 ? kQuantRecordBlocks * kQuantPanelRows : 0;
  return QuantCodeBytes(dtype) + grids;
}

// Panels that hold n rows.
constexpr int64_t QuantPanels(int64_t n) {
  return n / kQuantPanelRows + (n % kQuantPanelRows != 0);
}

// Where a panel of `records` records has its rows' scales.
constexpr int64_t QuantScaleOffset(DType dtype, int64_t records) {
  return records * QuantRecordBytes(dtype);
}

// Bytes of a panel of `records` records, which some memory holds.
constexpr int64_t QuantPanelSize(DType dtype, int64_t records) {
  return QuantScaleOffset(dtype, records) + kQuantPanelScaleBytes;
}

// Bytes of one panel, and of a whole [n][k] matrix; nothing for sizes below 1
// and those whose bytes no size_t holds: sizes may come from a hostile file.
std::optional<size_t> QuantPanelBytes(DType dtype, int64_t k);
std::optional<size_t> QuantMatrixBytes(DType dtype, int64_t n, int64_t k);

// Writes a row.
//   panel  QuantPanelBytes(dtype, k) bytes
//   lane   of the row in the panel
void StoreQuantRow(DType dtype, void* panel, int64_t lane,
                   const QuantizedRow& row);

// Reads row `n` of a packed [*][k] matrix back as f32: how an embedding row is
// taken from the tied head.
//   row  [k]
void DequantizeRow(DType dtype, const void* matrix, int64_t n, int64_t k,
                   float* row);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_QUANT_LAYOUT_H_
