// A dense convolution as a matrix product: the window of each output pixel,
// laid out as a row.
#ifndef LAPIDARY_KERNELS_CONV_PATCHES_H_
#define LAPIDARY_KERNELS_CONV_PATCHES_H_

#include "kernels/conv/window.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// Row p of `out` is the window of output pixel p of `range`: its taps in the
// order of ky, kx, channel, zero outside of `in`. Multiplied by weights
// [out][kernel · kernel · channels] it is the convolution's output. One thread.
//   out  [range.count()][kernel · kernel · channels] of `type` (kF32 or kBf16)
void GatherPatches(const MapView& in, const Window& window, PixelRange range,
                   DType type, void* out);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_CONV_PATCHES_H_
