// Activations as the integer product reads them: rows quantised to 8 bits, a
// scale for every 128 of a row, quantised once for all matrices that read them.
//
//   QuantRows x;
//   x.Quantize(normed);
//   QuantMatMul(q_proj, x, query);
//   QuantMatMul(k_proj, x, key);
//
// scale = max |x| / 127 of the 128, code = x / scale to the nearest, ties to
// even. A row's codes depend on that row alone and are the same on every CPU.
// Where there is an infinity or a NaN the scale is NaN, which shows in every
// output.
//
// Their order in memory is that of activation_tile.h.
#ifndef LAPIDARY_KERNELS_QUANT_ACTIVATIONS_H_
#define LAPIDARY_KERNELS_QUANT_ACTIVATIONS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/quant/activation_tile.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/scratch.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// Quantised rows in memory that somebody else owns.
class QuantTiles {
 public:
  struct Tile {
    int64_t first_row = 0;
    int64_t rows = 0;
    const std::byte* data = nullptr;
  };

  QuantTiles() = default;
  //   data  rows · QuantActivationBytes(k) bytes
  QuantTiles(int64_t rows, int64_t k, std::byte* data)
      : rows_(rows), k_(k), data_(data) {}

  // Quantises `count` numbers of a row, from column `first` on, by the calling
  // thread, as `kernels` read them. `first` begins a scale's 128 numbers, and
  // the last of theirs are there or the row ends. Numbers whose largest is
  // below 1e-30 become zeros.
  void Put(int64_t row, int64_t first, const float* x, int64_t count,
           const ProductKernels& kernels = ProductKernelsInUse()) const;

  int64_t rows() const { return rows_; }
  int64_t k() const { return k_; }

  // Tiles are as even as can be: 17 rows are 9 and 8.
  int64_t tiles() const { return (rows_ + kMaxTileRows - 1) / kMaxTileRows; }
  Tile tile(int64_t index) const;

 private:
  int64_t FirstRow(int64_t tile) const { return rows_ * tile / tiles(); }
  int64_t RowBytes() const { return QuantActivationBytes(k_); }

  int64_t rows_ = 0;
  int64_t k_ = 0;
  std::byte* data_ = nullptr;
};

// Quantised rows with memory of their own.
class QuantRows : public QuantTiles {
 public:
  // Quantises all rows, by all threads. Reuses the memory of the last call.
  void Quantize(ConstMatrixView x,
                const ProductKernels& kernels = ProductKernelsInUse());

  size_t bytes() const { return scratch_.bytes(); }

 private:
  Scratch scratch_;
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_ACTIVATIONS_H_
