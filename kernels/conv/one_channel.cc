#include "kernels/conv/one_channel.h"

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/one_channel.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/simd/for_each_vector-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void ConvolveOneChannelTarget(const float* const* in, int64_t columns,
                              const OneChannelWindow& window,
                              const float* weights, int64_t outputs,
                              int64_t channels, float* out) {
  for (int64_t x = 0; x < outputs; ++x) {
    ForEachVector(channels, [&](auto d, int64_t c) {
      auto sum = hn::Zero(d);
      const float* w = weights + c;
      for (int64_t a = 0; a < window.rows; ++a) {
        for (int64_t b = 0; b < window.columns; ++b, w += channels) {
          const int64_t column = x * window.stride + b - 1;
          if (in[a] == nullptr || column < 0 || column >= columns) continue;
          sum = hn::MulAdd(hn::Set(d, in[a][column]), hn::LoadU(d, w), sum);
        }
      }
      hn::StoreU(sum, d, out + x * channels + c);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(ConvolveOneChannelTarget);

void ConvolveOneChannel(const float* const* in, int64_t columns,
                        const OneChannelWindow& window, const float* weights,
                        int64_t outputs, int64_t channels, float* out) {
  HWY_DYNAMIC_DISPATCH(ConvolveOneChannelTarget)
  (in, columns, window, weights, outputs, channels, out);
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
