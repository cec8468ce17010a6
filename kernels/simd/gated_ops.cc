#include "kernels/simd/gated_ops.h"

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/gated_ops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/simd/for_each_vector-inl.h"
#include "kernels/simd/sigmoid-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class T>
void SiluRowsOf(const float* x, int64_t rows, int64_t n, int64_t stride,
                T* out) {
  for (int64_t r = 0; r < rows; ++r) {
    ForEachVector(n, [&](auto d, int64_t i) {
      const auto v = hn::LoadU(d, x + r * n + i);
      StoreAs(d, TimesSigmoid(d, v, v), out + r * stride + i);
    });
  }
}

void SiluRowsTarget(const float* x, int64_t rows, int64_t n, DType type,
                    int64_t stride, void* out) {
  if (type == DType::kBf16) {
    SiluRowsOf(x, rows, n, stride, static_cast<uint16_t*>(out));
  } else {
    SiluRowsOf(x, rows, n, stride, static_cast<float*>(out));
  }
}

void GateRowsTarget(const float* value, const float* gate, int64_t rows,
                    int64_t n, int64_t in_stride, int64_t out_stride,
                    float* out) {
  for (int64_t r = 0; r < rows; ++r) {
    ForEachVector(n, [&](auto d, int64_t i) {
      const auto v = hn::LoadU(d, value + r * in_stride + i);
      const auto g = hn::LoadU(d, gate + r * in_stride + i);
      hn::StoreU(TimesSigmoid(d, v, g), d, out + r * out_stride + i);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(SiluRowsTarget);
HWY_EXPORT(GateRowsTarget);

void SiluRows(const float* x, int64_t rows, int64_t n, DType type,
              int64_t stride, void* out) {
  HWY_DYNAMIC_DISPATCH(SiluRowsTarget)(x, rows, n, type, stride, out);
}

void GateRows(const float* value, const float* gate, int64_t rows, int64_t n,
              int64_t in_stride, int64_t out_stride, float* out) {
  HWY_DYNAMIC_DISPATCH(GateRowsTarget)
  (value, gate, rows, n, in_stride, out_stride, out);
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
