// exp, 1/x and x · sigmoid(x) for kernels of every vector target, and storing
// as bf16. Include it where Highway compiles a file once for each target, after
// highway.h.

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

// Rounds to bf16, to nearest even; a NaN stays one.
template <class D, class V>
HWY_INLINE void StoreAs(D /*d*/, V value, uint16_t* out) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> d16;
  const auto bits = hn::BitCast(du, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto up = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFu)));
  const auto nan = hn::RebindMask(du, hn::IsNaN(value));
  const auto chosen =
      hn::IfThenElse(nan, hn::Or(bits, hn::Set(du, 0x400000u)), up);
  hn::StoreU(hn::TruncateTo(d16, hn::ShiftRight<16>(chosen)), d16, out);
}

template <class D, class V>
HWY_INLINE void StoreAs(D d, V value, float* out) {
  hwy::HWY_NAMESPACE::StoreU(value, d, out);
}

// exp(x) for x ≤ 80, with a relative error of 3e-7 near 0 that grows to 3e-6 at
// -80; 1e-38 below -87. Half the work of Highway's, which is nearer: there are
// 600 million of them in an image of 768 x 768.
template <class D, class V>
HWY_INLINE V Exp(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToSigned<D> di;
  const auto log2_e = hn::Set(d, 1.4426950408889634f);
  const auto inside = hn::Max(x, hn::Set(d, -87.0f));
  // 2^power · 2^rest, |rest| ≤ 1/2, the latter by its Taylor series.
  const auto power = hn::NearestInt(hn::Mul(inside, log2_e));
  const auto rest = hn::MulSub(inside, log2_e, hn::ConvertTo(d, power));
  auto sum = hn::Set(d, 1.5403530393381610e-4f);
  for (const float coefficient :
       {1.3333558146428443e-3f, 9.6181291076284772e-3f, 5.5504108664821580e-2f,
        2.4022650695910072e-1f, 6.9314718055994531e-1f, 1.0f}) {
    sum = hn::MulAdd(sum, rest, hn::Set(d, coefficient));
  }
  return hn::BitCast(d,
                     hn::Add(hn::BitCast(di, sum), hn::ShiftLeft<23>(power)));
}

// 1 / x with one step of Newton's method, for x from 1 to 1e35.
template <class D, class V>
HWY_INLINE V Reciprocal(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto near = hn::ApproximateReciprocal(x);
  return hn::Mul(near, hn::NegMulAdd(near, x, hn::Set(d, 2.0f)));
}

// x · sigmoid(gate)
template <class D, class V>
HWY_INLINE V TimesSigmoid(D d, V x, V gate) {
  namespace hn = hwy::HWY_NAMESPACE;
  // exp(80) is infinity enough.
  const auto e = Exp(d, hn::Min(hn::Neg(gate), hn::Set(d, 80.0f)));
  return hn::Mul(x, Reciprocal(d, hn::Add(hn::Set(d, 1.0f), e)));
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#endif  // per target
