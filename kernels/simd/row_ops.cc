#include "kernels/simd/row_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/parallel.h"

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/row_ops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "hwy/contrib/math/math-inl.h"
#include "kernels/simd/for_each_vector-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;

float DotTarget(const float* a, const float* b, int64_t n) {
  const F d;
  const int64_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
    s1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes),
                    s1);
    s2 = hn::MulAdd(hn::LoadU(d, a + i + 2 * lanes),
                    hn::LoadU(d, b + i + 2 * lanes), s2);
    s3 = hn::MulAdd(hn::LoadU(d, a + i + 3 * lanes),
                    hn::LoadU(d, b + i + 3 * lanes), s3);
  }
  for (; i + lanes <= n; i += lanes) {
    s0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s0);
  }
  float sum =
      hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

void RmsNormTarget(const float* x, const float* weight, float eps, int64_t n,
                   float* out) {
  const float mean = DotTarget(x, x, n) / static_cast<float>(n);
  const float inverse = 1.0f / std::sqrt(mean + eps);
  if (weight == nullptr) {
    ForEachVector(n, [&](auto d, int64_t i) {
      hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse)), d, out + i);
    });
    return;
  }
  ForEachVector(n, [&](auto d, int64_t i) {
    const auto scaled = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse));
    hn::StoreU(hn::Mul(scaled, hn::LoadU(d, weight + i)), d, out + i);
  });
}

void AddScaledTarget(float a, const float* x, int64_t n, float* y) {
  ForEachVector(n, [&](auto d, int64_t i) {
    hn::StoreU(
        hn::MulAdd(hn::Set(d, a), hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d,
        y + i);
  });
}

void ScaledSumTarget(float a, const float* x, const float* y, int64_t n,
                     float* out) {
  ForEachVector(n, [&](auto d, int64_t i) {
    hn::StoreU(
        hn::MulAdd(hn::Set(d, a), hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d,
        out + i);
  });
}

// kRows: their number where the compiler is to know it, or 0.
template <int64_t kRows>
HWY_INLINE void MixRowsOf(const float* coefficients, int64_t rows,
                          const float* const* x, int64_t n, float* const* out) {
  constexpr int64_t kMostRows = 8;
  if (kRows != 0) rows = kRows;
  ForEachVector(n, [&](auto d, int64_t at) {
    hn::Vec<decltype(d)> in[kRows == 0 ? kMostRows : kRows];
    for (int64_t j = 0; j < rows; ++j) in[j] = hn::LoadU(d, x[j] + at);
    for (int64_t i = 0; i < rows; ++i) {
      const float* c = coefficients + i * rows;
      auto sum = hn::Mul(hn::Set(d, c[0]), in[0]);
      for (int64_t j = 1; j < rows; ++j) {
        sum = hn::MulAdd(hn::Set(d, c[j]), in[j], sum);
      }
      hn::StoreU(hn::Add(in[i], sum), d, out[i] + at);
    }
  });
}

void MixRowsTarget(const float* coefficients, int64_t rows,
                   const float* const* x, int64_t n, float* const* out) {
  if (rows == 4) {  // Gemma 3n's AltUp streams
    MixRowsOf<4>(coefficients, rows, x, n, out);
  } else {
    MixRowsOf<0>(coefficients, rows, x, n, out);
  }
}

void ScaleTarget(float a, const float* x, int64_t n, float* y) {
  ForEachVector(n, [&](auto d, int64_t i) {
    hn::StoreU(hn::Mul(hn::Set(d, a), hn::LoadU(d, x + i)), d, y + i);
  });
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluTanh(D d, V x) {
  const auto root = hn::Set(d, 0.7978845608028654f);  // sqrt(2/π)
  const auto cube = hn::Mul(hn::Mul(x, x), x);
  const auto inner = hn::Mul(root, hn::MulAdd(hn::Set(d, 0.044715f), cube, x));
  const auto one_plus = hn::Add(hn::Set(d, 1.0f), hn::Tanh(d, inner));
  return hn::Mul(hn::Mul(hn::Set(d, 0.5f), x), one_plus);
}

void GeluTanhTimesTarget(const float* y, int64_t n, float* x) {
  ForEachVector(n, [&](auto d, int64_t i) {
    hn::StoreU(hn::Mul(GeluTanh(d, hn::LoadU(d, x + i)), hn::LoadU(d, y + i)),
               d, x + i);
  });
}

float SumTarget(const float* x, int64_t n) {
  const F d;
  const int64_t lanes = hn::Lanes(d);
  auto sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) sum = hn::Add(sum, hn::LoadU(d, x + i));
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < n; ++i) total += x[i];
  return total;
}

void GaussianTopKTarget(float multiplier, int64_t n, float* x) {
  const F d;
  const int64_t lanes = hn::Lanes(d);
  const float count = static_cast<float>(n);
  const float mean = SumTarget(x, n) / count;
  auto squares = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto away = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, mean));
    squares = hn::MulAdd(away, away, squares);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, squares));
  for (; i < n; ++i) sum += (x[i] - mean) * (x[i] - mean);
  const float cutoff = mean + std::sqrt(sum / count) * multiplier;
  ForEachVector(n, [&](auto tag, int64_t at) {
    const auto left = hn::Sub(hn::LoadU(tag, x + at), hn::Set(tag, cutoff));
    // Not Max, which makes 0 of a NaN.
    hn::StoreU(hn::IfThenZeroElse(hn::Lt(left, hn::Zero(tag)), left), tag,
               x + at);
  });
}

// Sets bit i % 64 of word i / 64 for every i in [0, n) that `x` is not 0 at.
void NonZeroBitsTarget(const float* x, int64_t n, uint64_t* bits) {
  std::fill(bits, bits + (n + 63) / 64, 0);
  ForEachVector(n, [&](auto d, int64_t i) {
    const int64_t lanes = hn::Lanes(d);
    uint8_t bytes[8] = {};
    // Not Ne, of which some CPUs say that it is false for a NaN.
    const auto zero = hn::Eq(hn::LoadU(d, x + i), hn::Zero(d));
    hn::StoreMaskBits(d, hn::Not(zero), bytes);
    uint64_t word;
    std::memcpy(&word, bytes, sizeof(word));
    word &= ~uint64_t{0} >> (64 - lanes);
    bits[i / 64] |= word << (i % 64);
  });
}

void SoftCapTarget(float cap, int64_t n, float* x) {
  ForEachVector(n, [&](auto d, int64_t i) {
    const auto inner = hn::Div(hn::LoadU(d, x + i), hn::Set(d, cap));
    hn::StoreU(hn::Mul(hn::Set(d, cap), hn::Tanh(d, inner)), d, x + i);
  });
}

void SoftmaxTarget(int64_t n, float* x) {
  const F d;
  const int64_t lanes = hn::Lanes(d);
  auto highest = hn::Set(d, x[0]);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    highest = hn::Max(highest, hn::LoadU(d, x + i));
  }
  float top = hn::GetLane(hn::MaxOfLanes(d, highest));
  for (; i < n; ++i) top = std::fmax(top, x[i]);
  ForEachVector(n, [&](auto tag, int64_t at) {
    const auto below = hn::Sub(hn::LoadU(tag, x + at), hn::Set(tag, top));
    hn::StoreU(hn::Exp(tag, below), tag, x + at);
  });
  ScaleTarget(1.0f / SumTarget(x, n), x, n, x);
}

void ToBf16Target(const float* x, int64_t n, uint16_t* out) {
  ForEachVector(n, [&](auto d, int64_t i) {
    const hn::RebindToUnsigned<decltype(d)> du;
    const hn::Rebind<uint16_t, decltype(d)> d16;
    const auto value = hn::LoadU(d, x + i);
    const auto bits = hn::BitCast(du, value);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto up = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFu)));
    // A NaN keeps its upper bits, and one of them set.
    const auto nan = hn::RebindMask(du, hn::IsNaN(value));
    const auto chosen =
        hn::IfThenElse(nan, hn::Or(bits, hn::Set(du, 0x400000u)), up);
    hn::StoreU(hn::TruncateTo(d16, hn::ShiftRight<16>(chosen)), d16, out + i);
  });
}

void FromBf16Target(const uint16_t* x, float scale, int64_t n, float* out) {
  ForEachVector(n, [&](auto d, int64_t i) {
    const hn::RebindToUnsigned<decltype(d)> du;
    const hn::Rebind<uint16_t, decltype(d)> d16;
    const auto wide =
        hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, x + i)));
    hn::StoreU(hn::Mul(hn::BitCast(d, wide), hn::Set(d, scale)), d, out + i);
  });
}

const char* VectorTargetTarget() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(DotTarget);
HWY_EXPORT(RmsNormTarget);
HWY_EXPORT(AddScaledTarget);
HWY_EXPORT(ScaledSumTarget);
HWY_EXPORT(MixRowsTarget);
HWY_EXPORT(ScaleTarget);
HWY_EXPORT(GeluTanhTimesTarget);
HWY_EXPORT(GaussianTopKTarget);
HWY_EXPORT(NonZeroBitsTarget);
HWY_EXPORT(SoftCapTarget);
HWY_EXPORT(SoftmaxTarget);
HWY_EXPORT(ToBf16Target);
HWY_EXPORT(FromBf16Target);
HWY_EXPORT(VectorTargetTarget);

float Dot(const float* a, const float* b, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(DotTarget)(a, b, n);
}

float MeanOfSquares(const float* x, int64_t n) {
  return Dot(x, x, n) / static_cast<float>(n);
}

void RmsNorm(const float* x, const float* weight, float eps, int64_t n,
             float* out) {
  HWY_DYNAMIC_DISPATCH(RmsNormTarget)(x, weight, eps, n, out);
}

void AddScaled(float a, const float* x, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(AddScaledTarget)(a, x, n, y);
}

void ScaledSum(float a, const float* x, const float* y, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(ScaledSumTarget)(a, x, y, n, out);
}

void MixRows(const float* coefficients, int64_t rows, const float* const* x,
             int64_t n, float* const* out) {
  HWY_DYNAMIC_DISPATCH(MixRowsTarget)(coefficients, rows, x, n, out);
}

void Scale(float a, const float* x, int64_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(ScaleTarget)(a, x, n, y);
}

void GeluTanhTimes(const float* y, int64_t n, float* x) {
  HWY_DYNAMIC_DISPATCH(GeluTanhTimesTarget)(y, n, x);
}

void GaussianTopK(float multiplier, int64_t n, float* x) {
  HWY_DYNAMIC_DISPATCH(GaussianTopKTarget)(multiplier, n, x);
}

void NonZeroBits(const float* x, int64_t n, uint64_t* bits) {
  HWY_DYNAMIC_DISPATCH(NonZeroBitsTarget)(x, n, bits);
}

void SoftCap(float cap, int64_t n, float* x) {
  HWY_DYNAMIC_DISPATCH(SoftCapTarget)(cap, n, x);
}

void Softmax(int64_t n, float* x) { HWY_DYNAMIC_DISPATCH(SoftmaxTarget)(n, x); }

void ToBf16(const float* x, int64_t n, uint16_t* out) {
  HWY_DYNAMIC_DISPATCH(ToBf16Target)(x, n, out);
}

void RowsToBf16(ConstMatrixView rows, uint16_t* out) {
  ParallelFor(rows.rows, [&](int64_t r) {
    ToBf16(rows.row(r), rows.cols, out + r * rows.cols);
  });
}

void FromBf16(const uint16_t* x, float scale, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(FromBf16Target)(x, scale, n, out);
}

const char* VectorTarget() {
  return HWY_DYNAMIC_DISPATCH(VectorTargetTarget)();
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
