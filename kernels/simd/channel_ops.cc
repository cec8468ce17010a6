#include "kernels/simd/channel_ops.h"

#include <cmath>
#include <type_traits>

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/channel_ops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/simd/for_each_vector-inl.h"
#include "kernels/simd/sigmoid-inl.h"
#include "kernels/simd/typed_rows-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using One = hn::CappedTag<float, 1>;

template <class T>
float SumOfSquares(const T* x, int64_t n) {
  const F d;
  const One one;
  const int64_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  int64_t i = 0;
  const auto add = [&](int64_t at, auto sum) {
    const auto v = LoadAs(d, x + at);
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
  for (; i < n; ++i) {
    const float v = hn::GetLane(LoadAs(one, x + i));
    sum += v * v;
  }
  return sum;
}

template <class T>
float InverseRms(const T* x, int64_t n, float eps) {
  return 1.0f / std::sqrt(SumOfSquares(x, n) / static_cast<float>(n) + eps);
}

// x/2 (1 + tanh(u)) with u = sqrt(2/π)(x + 0.044715 x³), which is
// x / (1 + exp(-2u)).
template <class T, class D, class V>
HWY_INLINE V GeluTanh(D d, V x) {
  const auto minus_two_root = hn::Set(d, -1.5957691216057308f);
  const auto cube = hn::Mul(hn::Mul(x, x), x);
  const auto exponent =
      hn::Mul(minus_two_root, hn::MulAdd(hn::Set(d, 0.044715f), cube, x));
  // x / exp(80) is 0 in f32.
  const auto e = Exp<T>(d, hn::Min(exponent, hn::Set(d, 80.0f)));
  return hn::Mul(x, Reciprocal<T>(d, hn::Add(hn::Set(d, 1.0f), e)));
}

template <Activation kActivation, class From, class T>
void NormRowsOf(const From* x, int64_t rows, int64_t n, const float* weight,
                float eps, T* out) {
  for (int64_t r = 0; r < rows; ++r) {
    const From* in = x + r * n;
    const float inverse = InverseRms(in, n, eps);
    MapRow(n, out + r * n, [&](auto d, int64_t i) {
      auto v = hn::Mul(LoadAs(d, in + i), hn::Set(d, inverse));
      if (weight != nullptr) v = hn::Mul(v, hn::LoadU(d, weight + i));
      if (kActivation == Activation::kGeluTanh) v = GeluTanh<T>(d, v);
      if (kActivation == Activation::kSilu) v = TimesSigmoid<T>(d, v, v);
      return v;
    });
  }
}

template <class From, class T>
void NormRowsTo(const From* x, int64_t rows, int64_t n, const ChannelNorm& norm,
                T* out) {
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

template <class From>
void NormRowsFrom(const From* x, int64_t rows, int64_t n,
                  const ChannelNorm& norm, DType type, void* out) {
  if (type == DType::kBf16) {
    NormRowsTo(x, rows, n, norm, static_cast<uint16_t*>(out));
  } else {
    NormRowsTo(x, rows, n, norm, static_cast<float*>(out));
  }
}

void NormTypedRowsTarget(DType from, const void* x, int64_t rows, int64_t n,
                         const ChannelNorm& norm, DType type, void* out) {
  if (from == DType::kBf16) {
    NormRowsFrom(static_cast<const uint16_t*>(x), rows, n, norm, type, out);
  } else {
    NormRowsFrom(static_cast<const float*>(x), rows, n, norm, type, out);
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
    MapRow(count, static_cast<uint16_t*>(out),
           [&](auto d, int64_t i) { return hn::LoadU(d, x + i); });
  } else if (x != out) {
    MapRow(count, static_cast<float*>(out),
           [&](auto d, int64_t i) { return hn::LoadU(d, x + i); });
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
    float rest = 0;  // of what is left behind the last vector
    MapRow(n, to, [&](auto tag, int64_t at) {
      const auto e =
          Exp<T>(tag, hn::MulAdd(hn::LoadU(tag, in + at), hn::Set(tag, scale),
                                 hn::Set(tag, offset)));
      if constexpr (std::is_same_v<decltype(tag), One>) {
        rest += hn::GetLane(e);
      } else {
        sum = hn::Add(sum, e);
      }
      return e;
    });
    sums[r] = hn::GetLane(hn::SumOfLanes(d, sum)) + rest;
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
    MapRow(n, out + r * n, [&](auto d, int64_t i) {
      return hn::Mul(hn::LoadU(d, x + r * n + i), hn::Set(d, inverse));
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

HWY_EXPORT(NormTypedRowsTarget);
HWY_EXPORT(NormRowsAddTarget);
HWY_EXPORT(ScaleRowsAddTarget);
HWY_EXPORT(ConvertTarget);
HWY_EXPORT(ExpRowsTarget);
HWY_EXPORT(DivideRowsTarget);

void NormRows(const float* x, int64_t rows, int64_t n, const ChannelNorm& norm,
              DType type, void* out) {
  NormTypedRows(DType::kF32, x, rows, n, norm, type, out);
}

void NormTypedRows(DType from, const void* x, int64_t rows, int64_t n,
                   const ChannelNorm& norm, DType type, void* out) {
  HWY_DYNAMIC_DISPATCH(NormTypedRowsTarget)
  (from, x, rows, n, norm, type, out);
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
