// A group norm's passes over one group of values: sum, squared deviations, and
// the norm itself with a ReLU behind it. Sums in double, in an order that
// depends on the count and the CPU alone; by the calling thread alone.
#ifndef LAPIDARY_KERNELS_SIMD_GROUP_OPS_H_
#define LAPIDARY_KERNELS_SIMD_GROUP_OPS_H_

#include <cstdint>

namespace lapidary::kernels {

// Σ x_i
double SumOf(const float* x, int64_t n);

// Σ (x_i - mean)²
double SquaredDeviations(const float* x, int64_t n, double mean);

// out[r] = max(0, (x[r] - mean) · inverse ⊙ weight)
//   x, out  [rows][n]; may be the same
void NormRelu(const float* x, int64_t rows, int64_t n, float mean,
              float inverse, const float* weight, float* out);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_SIMD_GROUP_OPS_H_
