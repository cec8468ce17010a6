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

void SiluTarget(const float* x, int64_t n, float* out) {
  ForEachVector(n, [&](auto d, int64_t i) {
    const auto v = hn::LoadU(d, x + i);
    hn::StoreU(TimesSigmoid(d, v, v), d, out + i);
  });
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

HWY_EXPORT(SiluTarget);
HWY_EXPORT(GateRowsTarget);

void Silu(const float* x, int64_t n, float* out) {
  HWY_DYNAMIC_DISPATCH(SiluTarget)(x, n, out);
}

void GateRows(const float* value, const float* gate, int64_t rows, int64_t n,
              int64_t in_stride, int64_t out_stride, float* out) {
  HWY_DYNAMIC_DISPATCH(GateRowsTarget)
  (value, gate, rows, n, in_stride, out_stride, out);
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
