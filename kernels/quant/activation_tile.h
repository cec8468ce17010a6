// How quantised activations lie in memory, for those who write them
// (activations.cc) and those who multiply them (product_*.cc).
//
// Rows lie in tiles of at most 16, whose records, of 128 k, follow one another:
//
//   tile    [records of the row][record]
//   record  codes   s8   as the layout says
//           scales  f32  [rows of the tile]
//           starts  s32  [rows of the tile]            -128 Σ codes
//           sums    s32  [4 blocks][rows of the tile]  Σ codes of the block
//
// so that a kernel for a given number of rows reads all it needs from one
// pointer with constant offsets. A start is what a dot product starts at where
// weights are stored as w + 128.
#ifndef LAPIDARY_KERNELS_QUANT_ACTIVATION_TILE_H_
#define LAPIDARY_KERNELS_QUANT_ACTIVATION_TILE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/quant/quantized_row.h"

namespace lapidary::kernels {

inline constexpr int64_t kMaxTileRows = 16;

enum class TileLayout {
  kQuads,  // [32 quads of k][rows of the tile][4 k]: a step's are neighbours
  kRows,   // [rows of the tile][128 k]: what a matrix unit loads
};

// Where a record has what belongs to a row; `rows` of the tile.
constexpr int64_t QuadOffset(TileLayout layout, int64_t rows, int64_t row,
                             int64_t quad) {
  return layout == TileLayout::kQuads ? (quad * rows + row) * 4
                                      : row * kQuantRecordDepth + quad * 4;
}
constexpr int64_t ScaleOffset(int64_t rows, int64_t row) {
  return rows * kQuantRecordDepth + row * int64_t{sizeof(float)};
}
constexpr int64_t StartOffset(int64_t rows, int64_t row) {
  return ScaleOffset(rows, rows + row);
}
constexpr int64_t SumOffset(int64_t rows, int64_t row, int64_t block) {
  return StartOffset(rows, rows * (1 + block) + row);
}

// Bytes of a record, for each row of its tile.
inline constexpr int64_t kTileRecordRowBytes =
    SumOffset(1, 0, kQuantRecordBlocks);

// Bytes of a row of k activations.
constexpr int64_t QuantActivationBytes(int64_t k) {
  return QuantRecords(k) * kTileRecordRowBytes;
}

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_ACTIVATION_TILE_H_
