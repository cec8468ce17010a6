// Depthwise convolution along time, over the current row and those before it.
#ifndef LAPIDARY_KERNELS_CONV_CAUSAL_H_
#define LAPIDARY_KERNELS_CONV_CAUSAL_H_

#include <cstdint>

namespace lapidary::kernels {

// out[c] = Σ_m weights[m][c] · in[m][c], in the order of m: the last tap
// multiplies the current row. One thread.
//   weights  [kernel][channels]
//   in       [kernel][channels], the current row and the kernel - 1 before it
//   out      [channels]; may not alias `in`
void CausalDepthwise(const float* in, const float* weights, int64_t kernel,
                     int64_t channels, float* out);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_CONV_CAUSAL_H_
