// Sigmoids between two matrix products: x · sigmoid(x) (silu, swish) and gated
// linear units. Blocks of a matrix product's columns in, rows out; by the
// calling thread alone, in the widest vectors that the CPU has.
#ifndef LAPIDARY_KERNELS_SIMD_GATED_OPS_H_
#define LAPIDARY_KERNELS_SIMD_GATED_OPS_H_

#include <cstdint>

#include "kernels/tensor.h"

namespace lapidary::kernels {

// out[r][i] = silu(x[r][i])
//   x    [rows][n], dense
//   out  [rows] rows of n, `stride` elements apart, of `type` (kF32, kBf16)
void SiluRows(const float* x, int64_t rows, int64_t n, DType type,
              int64_t stride, void* out);

// out[r][i] = value[r][i] · sigmoid(gate[r][i])
//   value, gate  [rows] rows of n, `in_stride` floats apart
//   out          [rows] rows of n, `out_stride` floats apart
void GateRows(const float* value, const float* gate, int64_t rows, int64_t n,
              int64_t in_stride, int64_t out_stride, float* out);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_SIMD_GATED_OPS_H_
