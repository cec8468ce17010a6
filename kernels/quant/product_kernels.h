// The inner loop of the integer product, once for each instruction set: one
// panel of weights times one tile of activations.
//
// All compute the same numbers to the bit. For each output row and activation
// row, over the records of 128 k in ascending order from sum = 0:
//
//   dot = Σ weight integer · activation code       exact, in 32 bits
//   sum = fma(float(dot), activation scale, sum)   in f32
//
// and out = sum · weight scale. float(dot) is exact (|dot| < 2^22). Nothing
// depends on how many rows a tile has.
#ifndef LAPIDARY_KERNELS_QUANT_PRODUCT_KERNELS_H_
#define LAPIDARY_KERNELS_QUANT_PRODUCT_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace lapidary::kernels {

struct TileProduct {
  const std::byte* panel = nullptr;  // as quant_layout.h
  int64_t records = 0;
  const std::byte* tile = nullptr;  // as activations.h
  int64_t tile_rows = 0;
  float* out = nullptr;  // [tile_rows][columns], rows out_stride apart
  int64_t out_stride = 0;
  int64_t columns = 0;  // 1 … 16: rows of the panel that are not padding
};

using TileKernel = void (*)(const TileProduct& product);

// Writes an int4 panel as the int8 panel of the same weights.
using DecodeKernel = void (*)(const std::byte* panel, int64_t records,
                              std::byte* out);

struct ProductKernels {
  const char* name;
  TileKernel int8;
  TileKernel int4;
  // Null where int4 tiles are as fast as int8 ones.
  DecodeKernel decode_int4;
};

// Null where the CPU lacks the instructions.
const ProductKernels* Avx512VnniProductKernels();
const ProductKernels* Avx2ProductKernels();
// Always there.
const ProductKernels* PortableProductKernels();

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_PRODUCT_KERNELS_H_
