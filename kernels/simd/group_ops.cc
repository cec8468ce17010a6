#include "kernels/simd/group_ops.h"

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/group_ops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/simd/for_each_vector-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Σ f(x_i), each x_i widened first.
//   f(tag, vector of doubles)
template <class Function>
HWY_INLINE double SumInDouble(const float* x, int64_t n, const Function& f) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> narrow;
  const int64_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    s0 = hn::Add(s0, f(d, hn::PromoteTo(d, hn::LoadU(narrow, x + i))));
    s1 = hn::Add(s1, f(d, hn::PromoteTo(d, hn::LoadU(narrow, x + i + lanes))));
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  const hn::CappedTag<double, 1> one;
  for (; i < n; ++i) {
    sum += hn::GetLane(f(one, hn::Set(one, static_cast<double>(x[i]))));
  }
  return sum;
}

double SumOfTarget(const float* x, int64_t n) {
  return SumInDouble(x, n, [](auto /*d*/, auto v) { return v; });
}

double SquaredDeviationsTarget(const float* x, int64_t n, double mean) {
  return SumInDouble(x, n, [mean](auto d, auto v) {
    const auto away = hn::Sub(v, hn::Set(d, mean));
    return hn::Mul(away, away);
  });
}

void NormReluTarget(const float* x, int64_t rows, int64_t n, float mean,
                    float inverse, const float* weight, float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    ForEachVector(n, [&](auto d, int64_t i) {
      const auto away = hn::Sub(hn::LoadU(d, x + r * n + i), hn::Set(d, mean));
      const auto normed =
          hn::Mul(hn::Mul(away, hn::Set(d, inverse)), hn::LoadU(d, weight + i));
      hn::StoreU(hn::Max(normed, hn::Zero(d)), d, out + r * n + i);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(SumOfTarget);
HWY_EXPORT(SquaredDeviationsTarget);
HWY_EXPORT(NormReluTarget);

double SumOf(const float* x, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(SumOfTarget)(x, n);
}

double SquaredDeviations(const float* x, int64_t n, double mean) {
  return HWY_DYNAMIC_DISPATCH(SquaredDeviationsTarget)(x, n, mean);
}

void NormRelu(const float* x, int64_t rows, int64_t n, float mean,
              float inverse, const float* weight, float* out) {
  HWY_DYNAMIC_DISPATCH(NormReluTarget)(x, rows, n, mean, inverse, weight, out);
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
