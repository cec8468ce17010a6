// exp, 1/x and x · sigmoid(x) for kernels of every vector target. Include it
// where Highway compiles a file once for each target, after highway.h.
//
// T is what a result is stored as, float or uint16_t for bf16, which half the
// work is enough for: bf16 rounds by up to 4e-3.

// clang-format off
#if defined(LAPIDARY_KERNELS_SIMD_SIGMOID_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef LAPIDARY_KERNELS_SIMD_SIGMOID_INL_H_
#undef LAPIDARY_KERNELS_SIMD_SIGMOID_INL_H_
#else
#define LAPIDARY_KERNELS_SIMD_SIGMOID_INL_H_
#endif
// clang-format on

#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

// 2^x for |x| ≤ 1/2: its Taylor series, or the cubic polynomial whose largest
// relative error is least, 8e-5.
template <class T, class D, class V>
HWY_INLINE V ExpOfRest(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  if constexpr (sizeof(T) == 2) {
    auto sum = hn::Set(d, 5.5171669684945710e-2f);
    for (const float coefficient :
         {2.4261112686436093e-1f, 6.9326098574911950e-1f,
          9.9992807326166970e-1f}) {
      sum = hn::MulAdd(sum, x, hn::Set(d, coefficient));
    }
    return sum;
  }
  auto sum = hn::Set(d, 1.5403530393381610e-4f);
  for (const float coefficient :
       {1.3333558146428443e-3f, 9.6181291076284772e-3f, 5.5504108664821580e-2f,
        2.4022650695910072e-1f, 6.9314718055994531e-1f, 1.0f}) {
    sum = hn::MulAdd(sum, x, hn::Set(d, coefficient));
  }
  return sum;
}

// exp(x) for x ≤ 80, 1e-38 below -87. As f32 with a relative error of 3e-7 near
// 0 that grows to 3e-6 at -80, which is half the work of Highway's, which is
// nearer: there are 600 million of them in an image of 768 x 768.
template <class T = float, class D, class V>
HWY_INLINE V Exp(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToSigned<D> di;
  const auto log2_e = hn::Set(d, 1.4426950408889634f);
  const auto inside = hn::Max(x, hn::Set(d, -87.0f));
  // 2^power · 2^rest
  const auto power = hn::NearestInt(hn::Mul(inside, log2_e));
  const auto rest = hn::MulSub(inside, log2_e, hn::ConvertTo(d, power));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, ExpOfRest<T>(d, rest)),
                                hn::ShiftLeft<23>(power)));
}

// 1 / x for x from 1 to 1e35: the CPU's estimate (4e-4 at worst), and as f32
// with one step of Newton's method.
template <class T = float, class D, class V>
HWY_INLINE V Reciprocal(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto near = hn::ApproximateReciprocal(x);
  if constexpr (sizeof(T) == 2) return near;
  return hn::Mul(near, hn::NegMulAdd(near, x, hn::Set(d, 2.0f)));
}

// x · sigmoid(gate)
template <class T = float, class D, class V>
HWY_INLINE V TimesSigmoid(D d, V x, V gate) {
  namespace hn = hwy::HWY_NAMESPACE;
  // exp(80) is infinity enough.
  const auto e = Exp<T>(d, hn::Min(hn::Neg(gate), hn::Set(d, 80.0f)));
  return hn::Mul(x, Reciprocal<T>(d, hn::Add(hn::Set(d, 1.0f), e)));
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#endif  // per target
