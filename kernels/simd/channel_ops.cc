#include "kernels/simd/channel_ops.h"

#include <cmath>

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/channel_ops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/simd/for_each_vector-inl.h"
#include "kernels/simd/sigmoid-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using One = hn::CappedTag<float, 1>;

float SumOfSquares(const float* x, int64_t n) {
  const F d;
  const int64_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  int64_t i = 0;
  const auto add = [&](int64_t at, auto sum) {
    const auto v = hn::LoadU(d, x + at);
    return hn::MulAdd(v, v, sum);
  };
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = add(i, s0);
    s1 = add(i + lanes, s1);
    s2 = add(i + 2 * lanes, s2);
    s3 = add(i + 3 * lanes, s3);
  }
  for (; i + lanes <= n; i += lanes) s0 = add(i, s0);
  float sum =
      hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

float InverseRms(const float* x, int64_t n, float eps) {
  return 1.0f / std::sqrt(SumOfSquares(x, n) / static_cast<float>(n) + eps);
}

// x/2 (1 + tanh(u)) with u = sqrt(2/π)(x + 0.044715 x³), which is
// x / (1 + exp(-2u)).
template <class D, class V>
HWY_INLINE V GeluTanh(D d, V x) {
  const auto minus_two_root = hn::Set(d, -1.5957691216057308f);
  const auto cube = hn::Mul(hn::Mul(x, x), x);
  const auto exponent =
      hn::Mul(minus_two_root, hn::MulAdd(hn::Set(d, 0.044715f), cube, x));
  // x / exp(80) is 0 in f32.
  const auto e = Exp(d, hn::Min(exponent, hn::Set(d, 80.0f)));
  return hn::Mul(x, Reciprocal(d, hn::Add(hn::Set(d, 1.0f), e)));
}

template <Activation kActivation, class T>
void NormRowsOf(const float* x, int64_t rows, int64_t n, const float* weight,
                float eps, T* out) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * n;
    T* to = out + r * n;
    const float inverse = InverseRms(in, n, eps);
    ForEachVector(n, [&](auto d, int64_t i) {
      auto v = hn::Mul(hn::LoadU(d, in + i), hn::Set(d, inverse));
      if (weight != nullptr) v = hn::Mul(v, hn::LoadU(d, weight + i));
      if (kActivation == Activation::kGeluTanh) v = GeluTanh(d, v);
      if (kActivation == Activation::kSilu) v = TimesSigmoid(d, v, v);
      StoreAs(d, v, to + i);
    });
  }
}

template <class T>
void NormRowsTo(const float* x, int64_t rows, int64_t n,
                const ChannelNorm& norm, T* out) {
  switch (norm.activation) {
    case Activation::kNone:
      return NormRowsOf<Activation::kNone>(x, rows, n, norm.weight, norm.eps,
                                           out);
    case Activation::kGeluTanh:
      return NormRowsOf<Activation::kGeluTanh>(x, rows, n, norm.weight,
                                               norm.eps, out);
    case Activation::kSilu:
      return NormRowsOf<Activation::kSilu>(x, rows, n, norm.weight, norm.eps,
                                           out);
  }
}

void NormRowsTarget(const float* x, int64_t rows, int64_t n,
                    const ChannelNorm& norm, DType type, void* out) {
  if (type == DType::kBf16) {
    NormRowsTo(x, rows, n, norm, static_cast<uint16_t*>(out));
  } else {
    NormRowsTo(x, rows, n, norm, static_cast<float*>(out));
  }
}

void NormRowsAddTarget(const float* x, int64_t rows, int64_t n,
                       const ChannelNorm& norm, const float* shortcut,
                       float* out) {
  if (shortcut == nullptr) {
    NormRowsTo(x, rows, n, norm, out);
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * n;
    const float* skip = shortcut + r * n;
    float* to = out + r * n;
    const float inverse = InverseRms(in, n, norm.eps);
    ForEachVector(n, [&](auto d, int64_t i) {
      const auto v = hn::Mul(hn::LoadU(d, in + i), hn::Set(d, inverse));
      const auto weight = hn::LoadU(d, norm.weight + i);
      hn::StoreU(hn::MulAdd(v, weight, hn::LoadU(d, skip + i)), d, to + i);
    });
  }
}

void ScaleRowsAddTarget(const float* x, int64_t rows, int64_t n,
                        const float* weight, const float* shortcut,
                        float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * n;
    float* to = out + r * n;
    ForEachVector(n, [&](auto d, int64_t i) {
      auto v = hn::LoadU(d, in + i);
      if (weight != nullptr) v = hn::Mul(v, hn::LoadU(d, weight + i));
      if (shortcut != nullptr) {
        v = hn::Add(v, hn::LoadU(d, shortcut + r * n + i));
      }
      hn::StoreU(v, d, to + i);
    });
  }
}

void ConvertTarget(const float* x, int64_t count, DType type, void* out) {
  if (type == DType::kBf16) {
    ForEachVector(count, [&](auto d, int64_t i) {
      StoreAs(d, hn::LoadU(d, x + i), static_cast<uint16_t*>(out) + i);
    });
  } else if (x != out) {
    ForEachVector(count, [&](auto d, int64_t i) {
      StoreAs(d, hn::LoadU(d, x + i), static_cast<float*>(out) + i);
    });
  }
}

template <class T>
void ExpRowsOf(const float* x, int64_t rows, int64_t n, float scale, T* out,
               float* sums) {
  const F d;
  const int64_t lanes = hn::Lanes(d);
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * n;
    T* to = out + r * n;
    float top = in[0];
    auto highest = hn::Set(d, top);
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      highest = hn::Max(highest, hn::LoadU(d, in + i));
    }
    top = hn::GetLane(hn::MaxOfLanes(d, highest));
    for (; i < n; ++i) top = std::fmax(top, in[i]);
    const float offset = -top * scale;
    auto sum = hn::Zero(d);
    i = 0;
    for (; i + lanes <= n; i += lanes) {
      const auto e = Exp(d, hn::MulAdd(hn::LoadU(d, in + i), hn::Set(d, scale),
                                       hn::Set(d, offset)));
      sum = hn::Add(sum, e);
      StoreAs(d, e, to + i);
    }
    float total = hn::GetLane(hn::SumOfLanes(d, sum));
    const One one;
    for (; i < n; ++i) {
      const auto e = Exp(one, hn::Set(one, in[i] * scale + offset));
      total += hn::GetLane(e);
      StoreAs(one, e, to + i);
    }
    sums[r] = total;
  }
}

void ExpRowsTarget(const float* x, int64_t rows, int64_t n, float scale,
                   DType type, void* out, float* sums) {
  if (type == DType::kBf16) {
    ExpRowsOf(x, rows, n, scale, static_cast<uint16_t*>(out), sums);
  } else {
    ExpRowsOf(x, rows, n, scale, static_cast<float*>(out), sums);
  }
}

template <class T>
void DivideRowsOf(const float* x, int64_t rows, int64_t n, const float* sums,
                  T* out) {
  for (int64_t r = 0; r < rows; ++r) {
    const float inverse = 1.0f / sums[r];
    ForEachVector(n, [&](auto d, int64_t i) {
      StoreAs(d, hn::Mul(hn::LoadU(d, x + r * n + i), hn::Set(d, inverse)),
              out + r * n + i);
    });
  }
}

void DivideRowsTarget(const float* x, int64_t rows, int64_t n,
                      const float* sums, DType type, void* out) {
  if (type == DType::kBf16) {
    DivideRowsOf(x, rows, n, sums, static_cast<uint16_t*>(out));
  } else {
    DivideRowsOf(x, rows, n, sums, static_cast<float*>(out));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(NormRowsTarget);
HWY_EXPORT(NormRowsAddTarget);
HWY_EXPORT(ScaleRowsAddTarget);
HWY_EXPORT(ConvertTarget);
HWY_EXPORT(ExpRowsTarget);
HWY_EXPORT(DivideRowsTarget);

void NormRows(const float* x, int64_t rows, int64_t n, const ChannelNorm& norm,
              DType type, void* out) {
  HWY_DYNAMIC_DISPATCH(NormRowsTarget)(x, rows, n, norm, type, out);
}

void NormRowsAdd(const float* x, int64_t rows, int64_t n,
                 const ChannelNorm& norm, const float* shortcut, float* out) {
  HWY_DYNAMIC_DISPATCH(NormRowsAddTarget)(x, rows, n, norm, shortcut, out);
}

void ScaleRowsAdd(const float* x, int64_t rows, int64_t n, const float* weight,
                  const float* shortcut, float* out) {
  HWY_DYNAMIC_DISPATCH(ScaleRowsAddTarget)(x, rows, n, weight, shortcut, out);
}

void AddBias(const float* bias, int64_t rows, int64_t n, float* x) {
  for (int64_t r = 0; r < rows; ++r) {
    ScaleRowsAdd(x + r * n, 1, n, nullptr, bias, x + r * n);
  }
}

void Convert(const float* x, int64_t count, DType type, void* out) {
  HWY_DYNAMIC_DISPATCH(ConvertTarget)(x, count, type, out);
}

void ExpRows(const float* x, int64_t rows, int64_t n, float scale, DType type,
             void* out, float* sums) {
  HWY_DYNAMIC_DISPATCH(ExpRowsTarget)(x, rows, n, scale, type, out, sums);
}

void DivideRows(const float* x, int64_t rows, int64_t n, const float* sums,
                DType type, void* out) {
  HWY_DYNAMIC_DISPATCH(DivideRowsTarget)(x, rows, n, sums, type, out);
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
