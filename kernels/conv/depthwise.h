// Depthwise convolution of pixels whose channels lie together (nhwc).
#ifndef LAPIDARY_KERNELS_CONV_DEPTHWISE_H_
#define LAPIDARY_KERNELS_CONV_DEPTHWISE_H_

#include "kernels/conv/window.h"

namespace lapidary::kernels {

// out[p][c] = Σ_ky,kx weights[ky][kx][c] · in[y·s + ky - before][x·s + kx -
// before][c], zero outside of `in`, for the output pixels p = y · width + x of
// `range`. One thread.
//   weights  [kernel][kernel][channels]
//   out      [range.count()][channels]; may not alias `in`
// f32 throughout; each output is summed in the order of ky, kx.
void Depthwise(const MapView& in, const Window& window, const float* weights,
               PixelRange range, float* out);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_CONV_DEPTHWISE_H_
