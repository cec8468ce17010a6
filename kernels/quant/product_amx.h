// Several tiles at a time by AMX: see product_amx_tiles.cc.
#ifndef LAPIDARY_KERNELS_QUANT_PRODUCT_AMX_H_
#define LAPIDARY_KERNELS_QUANT_PRODUCT_AMX_H_

#include "kernels/quant/product_kernels.h"

namespace lapidary::kernels::amx {

// A TilesKernel, where AmxProductKernels() are there.
void MultiplyTiles(const TilesProduct& product);

}  // namespace lapidary::kernels::amx

#endif  // LAPIDARY_KERNELS_QUANT_PRODUCT_AMX_H_
