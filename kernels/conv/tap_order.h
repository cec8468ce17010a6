// The order of a convolution's weights: a checkpoint has a kernel's taps
// innermost, products and channel loops want the input channels there.
#ifndef LAPIDARY_KERNELS_CONV_TAP_ORDER_H_
#define LAPIDARY_KERNELS_CONV_TAP_ORDER_H_

#include <cstdint>

namespace lapidary::kernels {

// [outer][inner][taps] in the checkpoint. Of a dense convolution outer are the
// outputs; where each output has one input channel, inner are, and outer is 1.
struct TapOrder {
  int64_t outer = 1, inner = 1, taps = 1;
};

// [outer][inner][taps] to [outer][taps][inner].
//   from, to  as many elements each; may not overlap
template <typename T>
void ReorderTaps(const TapOrder& order, const T* from, T* to) {
  for (int64_t o = 0; o < order.outer; ++o) {
    for (int64_t tap = 0; tap < order.taps; ++tap) {
      for (int64_t i = 0; i < order.inner; ++i) {
        *to++ = from[(o * order.inner + i) * order.taps + tap];
      }
    }
  }
}

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_CONV_TAP_ORDER_H_
