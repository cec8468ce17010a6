#include "kernels/conv/causal.h"

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/causal.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/simd/for_each_vector-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void CausalDepthwiseTarget(const float* in, const float* weights,
                           int64_t kernel, int64_t channels, float* out) {
  ForEachVector(channels, [&](auto d, int64_t c) {
    auto sum = hn::Zero(d);
    for (int64_t m = 0; m < kernel; ++m) {
      sum = hn::MulAdd(hn::LoadU(d, weights + m * channels + c),
                       hn::LoadU(d, in + m * channels + c), sum);
    }
    hn::StoreU(sum, d, out + c);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(CausalDepthwiseTarget);

void CausalDepthwise(const float* in, const float* weights, int64_t kernel,
                     int64_t channels, float* out) {
  HWY_DYNAMIC_DISPATCH(CausalDepthwiseTarget)
  (in, weights, kernel, channels, out);
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
