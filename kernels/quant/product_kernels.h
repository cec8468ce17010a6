// The inner loop of the integer product, once for each instruction set: one
// panel of weights times one tile of activations.
//
// All compute the same numbers to the bit. For each output row and activation
// row, over the blocks b in ascending order from sum = 0:
//
//   dot = Σ weight code · activation code           exact, in 32 bits
//   sum = fma(float(dot), weight scale · activation scale, sum)     in f32
//
// where float(dot) is exact (|dot| < 2^24) and the scales' product is rounded
// once. Nothing depends on how many rows a tile has.
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

struct ProductKernels {
  const char* name;
  TileKernel int8;
  TileKernel int4;
};

// Null where the CPU lacks the instructions.
const ProductKernels* Avx512VnniProductKernels();
const ProductKernels* Avx2ProductKernels();
// Always there.
const ProductKernels* PortableProductKernels();

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_PRODUCT_KERNELS_H_
