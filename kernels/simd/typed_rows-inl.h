// Rows of f32 or bf16 for kernels of every vector target, computed with in f32.
// Include it where Highway compiles a file once for each target, after
// highway.h.

// clang-format off
#if defined(LAPIDARY_KERNELS_SIMD_TYPED_ROWS_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef LAPIDARY_KERNELS_SIMD_TYPED_ROWS_INL_H_
#undef LAPIDARY_KERNELS_SIMD_TYPED_ROWS_INL_H_
#else
#define LAPIDARY_KERNELS_SIMD_TYPED_ROWS_INL_H_
#endif
// clang-format on

#include <cstdint>
#include <type_traits>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> LoadAs(D d, const float* x) {
  return hwy::HWY_NAMESPACE::LoadU(d, x);
}

template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> LoadAs(D d, const uint16_t* x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> d16;
  return hn::BitCast(d,
                     hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, x))));
}

// bf16 in the upper half of each lane, rounded to nearest even. A NaN stays
// one if it is quiet, as all are that come out of a computation.
template <class D, class V>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<hwy::HWY_NAMESPACE::RebindToUnsigned<D>>
RoundToBf16(D /*d*/, V value) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto up = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFu)));
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(value)), bits, up);
}

template <class D, class V>
HWY_INLINE void StoreAs(D d, V value, uint16_t* out) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::Rebind<uint16_t, D> d16;
  const auto rounded = hn::ShiftRight<16>(RoundToBf16(d, value));
  hn::StoreU(hn::TruncateTo(d16, rounded), d16, out);
}

template <class D, class V>
HWY_INLINE void StoreAs(D d, V value, float* out) {
  hwy::HWY_NAMESPACE::StoreU(value, d, out);
}

// out[i] = value(tag, i), of vectors and then of single elements: no access
// past the end. `out` may begin where the values come from, if its elements are
// no wider than theirs.
template <class T, class Value>
HWY_INLINE void MapRow(int64_t n, T* out, const Value& value) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const int64_t lanes = hn::Lanes(d);
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  if constexpr (std::is_same_v<T, uint16_t>) {
    // Two vectors at a time: their upper halves together are one.
    const hn::Repartition<uint16_t, decltype(d)> d16;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
      const auto low = hn::BitCast(d16, RoundToBf16(d, value(d, i)));
      const auto high = hn::BitCast(d16, RoundToBf16(d, value(d, i + lanes)));
      hn::StoreU(hn::ConcatOdd(d16, high, low), d16, out + i);
    }
  }
#endif
  for (; i + lanes <= n; i += lanes) StoreAs(d, value(d, i), out + i);
  for (; i < n; ++i) StoreAs(one, value(one, i), out + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#endif  // per target
