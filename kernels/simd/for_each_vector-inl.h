// A loop that kernels of every vector target share. Include it where Highway
// compiles a file once for each target, after highway.h.

// clang-format off
#if defined(LAPIDARY_KERNELS_SIMD_FOR_EACH_VECTOR_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef LAPIDARY_KERNELS_SIMD_FOR_EACH_VECTOR_INL_H_
#undef LAPIDARY_KERNELS_SIMD_FOR_EACH_VECTOR_INL_H_
#else
#define LAPIDARY_KERNELS_SIMD_FOR_EACH_VECTOR_INL_H_
#endif
// clang-format on

#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

// Calls body(tag, i) for whole vectors of floats, then for the single elements
// that are left: no read past the end.
template <class Body>
HWY_INLINE void ForEachVector(int64_t n, const Body& body) {
  const hwy::HWY_NAMESPACE::ScalableTag<float> d;
  const hwy::HWY_NAMESPACE::CappedTag<float, 1> one;
  const int64_t lanes = hwy::HWY_NAMESPACE::Lanes(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) body(d, i);
  for (; i < n; ++i) body(one, i);
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#endif  // per target
