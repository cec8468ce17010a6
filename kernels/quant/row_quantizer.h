// Chooses the scale, the grids and the codes of one row of weights.
//
// The step that maps the largest weight of a block to the end of the codes'
// range is seldom the best: a finer one costs the one large weight a little and
// gains for the other 31. So steps around it are tried, and the least error
// wins. All weights count alike: what they are multiplied by is not known here.
//
//   int4  The steps that the blocks would choose alone give the row's scale,
//         the largest over 15, and the multipliers, the better of the two
//         nearest to step / scale. A negative step is one whose codes reach
//         further up.
//   int8  The best of some scales up to the largest weight over 127.
//
// Then the scale is the codes' least-squares one, rounded to 12 bits, and the
// codes are chosen again for that.
//
// One arithmetic on every CPU: a model packs to the same bytes anywhere.
#ifndef LAPIDARY_KERNELS_QUANT_ROW_QUANTIZER_H_
#define LAPIDARY_KERNELS_QUANT_ROW_QUANTIZER_H_

#include "absl/types/span.h"
#include "kernels/quant/quantized_row.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

//   dtype    kInt8 or kInt4
//   weights  within ±kMaxQuantWeight (quantize.h)
//   error    Σ (weight - what its code stands for)²
QuantizedRow QuantizeRow(DType dtype, absl::Span<const float> weights,
                         double* error);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_ROW_QUANTIZER_H_
