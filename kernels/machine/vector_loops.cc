#include "kernels/machine/loops.h"

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/machine/vector_loops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Four streams of 4 KB at once: the fastest plain pattern, by 6 %
// (kernel-notes.md §1).
uint64_t ReadAllTarget(const std::byte* data, size_t bytes) {
  const hn::ScalableTag<uint64_t> d;
  const size_t step = hn::Lanes(d);
  constexpr size_t kStream = kReadGrain / 4 / sizeof(uint64_t);
  const auto* words = reinterpret_cast<const uint64_t*>(data);
  auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  for (size_t grain = 0; grain < bytes / kReadGrain; ++grain) {
    const uint64_t* at = words + grain * 4 * kStream;
    for (size_t i = 0; i < kStream; i += step) {
      s0 = hn::Xor(s0, hn::LoadU(d, at + i));
      s1 = hn::Xor(s1, hn::LoadU(d, at + kStream + i));
      s2 = hn::Xor(s2, hn::LoadU(d, at + 2 * kStream + i));
      s3 = hn::Xor(s3, hn::LoadU(d, at + 3 * kStream + i));
    }
  }
  return hn::GetLane(hn::Xor(hn::Xor(s0, s1), hn::Xor(s2, s3)));
}

// Chains that run side by side: latency (4 cycles) times two a cycle, and some.
constexpr int kChains = 12;

uint64_t MultiplyAddTarget(int64_t passes) {
  const hn::ScalableTag<float> d;
  const auto a = hn::Set(d, 1.0f);
  const auto b = hn::Set(d, 1e-3f);
  // Chains that began alike would be run as one.
  auto s0 = hn::Set(d, 0.0f), s1 = hn::Set(d, 1.0f), s2 = hn::Set(d, 2.0f);
  auto s3 = hn::Set(d, 3.0f), s4 = hn::Set(d, 4.0f), s5 = hn::Set(d, 5.0f);
  auto t0 = hn::Set(d, 6.0f), t1 = hn::Set(d, 7.0f), t2 = hn::Set(d, 8.0f);
  auto t3 = hn::Set(d, 9.0f), t4 = hn::Set(d, 10.0f), t5 = hn::Set(d, 11.0f);
  for (int64_t pass = 0; pass < passes; ++pass) {
    s0 = hn::MulAdd(a, b, s0);
    s1 = hn::MulAdd(a, b, s1);
    s2 = hn::MulAdd(a, b, s2);
    s3 = hn::MulAdd(a, b, s3);
    s4 = hn::MulAdd(a, b, s4);
    s5 = hn::MulAdd(a, b, s5);
    t0 = hn::MulAdd(a, b, t0);
    t1 = hn::MulAdd(a, b, t1);
    t2 = hn::MulAdd(a, b, t2);
    t3 = hn::MulAdd(a, b, t3);
    t4 = hn::MulAdd(a, b, t4);
    t5 = hn::MulAdd(a, b, t5);
  }
  const auto s =
      hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(s4, s5));
  const auto t =
      hn::Add(hn::Add(hn::Add(t0, t1), hn::Add(t2, t3)), hn::Add(t4, t5));
  return static_cast<uint64_t>(hn::GetLane(hn::Add(s, t)));
}

size_t FloatLanesTarget() { return hn::Lanes(hn::ScalableTag<float>()); }

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(ReadAllTarget);
HWY_EXPORT(MultiplyAddTarget);
HWY_EXPORT(FloatLanesTarget);

uint64_t ReadAll(const std::byte* data, size_t bytes) {
  return HWY_DYNAMIC_DISPATCH(ReadAllTarget)(data, bytes);
}

ArithmeticLoop FloatLoop() {
  const size_t lanes = HWY_DYNAMIC_DISPATCH(FloatLanesTarget)();
  return {"f32 FMA", 2.0 * HWY_NAMESPACE::kChains * static_cast<double>(lanes),
          [](int64_t passes) {
            return HWY_DYNAMIC_DISPATCH(MultiplyAddTarget)(passes);
          }};
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
