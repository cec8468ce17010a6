// Chooses the scale and the codes of one block of weights.
//
// The scale that maps the largest weight to the end of the codes' range is
// seldom the best: a finer step costs the one large weight a little and gains
// for the other 31. So scales around it are tried. For each, the codes'
// least-squares scale is taken, rounded to fp16 as it will be stored, the
// codes chosen again for that, and the error measured; the least error wins.
// All 32 weights count alike: what they are multiplied by is not known here.
//
// One arithmetic on every CPU: a model packs to the same bytes anywhere.
#ifndef LAPIDARY_KERNELS_QUANT_BLOCK_QUANTIZER_H_
#define LAPIDARY_KERNELS_QUANT_BLOCK_QUANTIZER_H_

#include <cstdint>

#include "kernels/quant/quant_layout.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

struct QuantizedBlock {
  uint16_t scale = 0;  // fp16; of either sign
  int8_t codes[kQuantBlock] = {};
  float squared_error = 0;  // Σ (weight - scale · code)²
};

//   weights  [32], within ±kMaxQuantWeight (quantize.h)
//   dtype    kInt8: codes ±127; kInt4: codes -8 … 7
QuantizedBlock QuantizeBlock(DType dtype, const float* weights);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_BLOCK_QUANTIZER_H_
