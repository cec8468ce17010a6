// What the AMX kernels take from the AVX-512 ones.
#ifndef LAPIDARY_KERNELS_QUANT_PRODUCT_AVX512_H_
#define LAPIDARY_KERNELS_QUANT_PRODUCT_AVX512_H_

#include "kernels/quant/product_kernels.h"

namespace lapidary::kernels {

// The same kernels for tiles in TileLayout::kRows. Null where the CPU lacks
// the instructions.
const ProductKernels* Avx512VnniRowKernels();

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_PRODUCT_AVX512_H_
