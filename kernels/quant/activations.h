// Activations as the integer product reads them: rows quantised to 8 bits, a
// scale for every 32 of a row, quantised once for all matrices that read them.
//
//   QuantRows x;
//   x.Quantize(normed);
//   QuantMatMul(q_proj, x, query);
//   QuantMatMul(k_proj, x, key);
//
// scale = max |x| / 127 of the block, code = x / scale to the nearest, ties to
// even. A row's codes depend on that row alone and are the same on every CPU.
// A block with an infinity or a NaN has the scale NaN, which shows in every
// output.
//
// Rows lie in tiles of at most 16, whose blocks follow one another:
//
//   tile    [blocks of the row's records][block]
//   block   codes    s8   [8 quads of k][rows of the tile][4 k]
//           scales   f32  [rows of the tile]
//           offsets  s32  [rows of the tile]   -8 Σ codes
//
// so that a kernel for a given number of rows reads all it needs from one
// pointer with constant offsets. An offset is what an int4 dot product starts
// at, because its weights are stored as w + 8 (× 16 for int8's w + 128).
#ifndef LAPIDARY_KERNELS_QUANT_ACTIVATIONS_H_
#define LAPIDARY_KERNELS_QUANT_ACTIVATIONS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/quant/quant_layout.h"
#include "kernels/scratch.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

inline constexpr int64_t kMaxTileRows = 16;

// Bytes of a block, for each row of its tile.
inline constexpr int64_t kTileBlockRowBytes =
    kQuantBlock + sizeof(float) + sizeof(int32_t);

class QuantRows {
 public:
  struct Tile {
    int64_t first_row = 0;
    int64_t rows = 0;
    const std::byte* data = nullptr;
  };

  // Quantises all rows, by all threads. Reuses the memory of the last call.
  // A block whose largest number is below 1e-30 becomes zeros.
  void Quantize(ConstMatrixView x);

  int64_t rows() const { return rows_; }
  int64_t k() const { return k_; }

  // Tiles are as even as can be: 17 rows are 9 and 8.
  int64_t tiles() const { return (rows_ + kMaxTileRows - 1) / kMaxTileRows; }
  Tile tile(int64_t index) const;

  size_t bytes() const { return scratch_.bytes(); }

 private:
  int64_t FirstRow(int64_t tile) const { return rows_ * tile / tiles(); }
  int64_t RowBytes() const {
    return QuantRecords(k_) * kQuantRecordBlocks * kTileBlockRowBytes;
  }

  int64_t rows_ = 0;
  int64_t k_ = 0;
  Scratch scratch_;
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_ACTIVATIONS_H_
