// Sigmoids between two matrix products: x · sigmoid(x) (silu, swish) and gated
// linear units. Blocks of a matrix product's columns in, rows out; by the
// calling thread alone, in the widest vectors that the CPU has.
#ifndef LAPIDARY_KERNELS_SIMD_GATED_OPS_H_
#define LAPIDARY_KERNELS_SIMD_GATED_OPS_H_

#include <cstdint>

namespace lapidary::kernels {

// out = silu(x)
//   x    [n]
//   out  [n]; may alias x
void Silu(const float* x, int64_t n, float* out);

// out[r][i] = value[r][i] · sigmoid(gate[r][i])
//   value, gate  [rows] rows of n, `in_stride` floats apart
//   out          [rows] rows of n, `out_stride` floats apart
void GateRows(const float* value, const float* gate, int64_t rows, int64_t n,
              int64_t in_stride, int64_t out_stride, float* out);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_SIMD_GATED_OPS_H_
