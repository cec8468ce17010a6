#include "kernels/sampling/vocabulary_ops.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "absl/container/inlined_vector.h"
#include "kernels/parallel.h"
#include "kernels/simd/row_ops.h"

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sampling/vocabulary_ops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "hwy/contrib/math/math-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

float LargestTarget(const float* x, int64_t n) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = hn::Lanes(d);
  float largest = -std::numeric_limits<float>::infinity();
  int64_t i = 0;
  if (n >= lanes) {
    auto most = hn::LoadU(d, x);
    for (i = lanes; i + lanes <= n; i += lanes) {
      most = hn::Max(most, hn::LoadU(d, x + i));
    }
    largest = hn::GetLane(hn::MaxOfLanes(d, most));
  }
  for (; i < n; ++i) largest = std::max(largest, x[i]);
  return largest;
}

// Σ exp(x - top)
double SumExpTarget(const float* x, int64_t n, double top) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, hn::ScalableTag<double>> narrow;
  const int64_t lanes = hn::Lanes(d);
  auto sums = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto wide = hn::PromoteTo(d, hn::LoadU(narrow, x + i));
    sums = hn::Add(sums, hn::Exp(d, hn::Sub(wide, hn::Set(d, top))));
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < n; ++i) sum += std::exp(x[i] - top);
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(LargestTarget);
HWY_EXPORT(SumExpTarget);

namespace {

// Large enough that a block is worth a thread's while, small enough that a
// vocabulary of 262,144 is shared out evenly.
constexpr int64_t kBlock = 4096;

// Where the search for candidates looks closer.
constexpr int64_t kGlance = 64;

int64_t Blocks(absl::Span<const float> logits) {
  return (static_cast<int64_t>(logits.size()) + kBlock - 1) / kBlock;
}

absl::Span<const float> BlockOf(absl::Span<const float> logits, int64_t block) {
  return logits.subspan(block * kBlock, kBlock);
}

float Largest(absl::Span<const float> x) {
  return HWY_DYNAMIC_DISPATCH(LargestTarget)(x.data(), x.size());
}

// One number for each block.
template <typename T>
using PerBlock = absl::InlinedVector<T, 80>;

PerBlock<float> LargestOfBlocks(absl::Span<const float> logits) {
  PerBlock<float> largest(Blocks(logits));
  ParallelFor(Blocks(logits), [&](int64_t block) {
    largest[block] = Largest(BlockOf(logits, block));
  });
  return largest;
}

}  // namespace

int32_t ArgMax(absl::Span<const float> logits) {
  const PerBlock<float> largest = LargestOfBlocks(logits);
  const auto best = std::max_element(largest.begin(), largest.end());
  const auto block = BlockOf(logits, best - largest.begin());
  const auto at = std::find(block.begin(), block.end(), *best);
  return at == block.end() ? 0 : static_cast<int32_t>(&*at - logits.data());
}

double LogSumExp(absl::Span<const float> logits) {
  const PerBlock<float> largest = LargestOfBlocks(logits);
  const double top = *std::max_element(largest.begin(), largest.end());
  PerBlock<double> sums(largest.size());
  ParallelFor(Blocks(logits), [&](int64_t block) {
    const auto x = BlockOf(logits, block);
    sums[block] = HWY_DYNAMIC_DISPATCH(SumExpTarget)(x.data(), x.size(), top);
  });
  double sum = 0;
  for (double part : sums) sum += part;
  return top + std::log(sum);
}

void SelectTop(absl::Span<const float> logits, size_t k,
               std::vector<Candidate>* top) {
  top->clear();
  // Below it nothing can be among the k largest.
  float least = -std::numeric_limits<float>::infinity();
  size_t most = 4 * k;  // candidates before they are sifted
  std::vector<float> sifted;
  const auto sift = [&] {
    sifted.clear();
    for (const Candidate& c : *top) sifted.push_back(c.first);
    std::nth_element(sifted.begin(), sifted.begin() + (k - 1), sifted.end(),
                     std::greater<float>());
    least = sifted[k - 1];
    const auto below = [&](const Candidate& c) { return c.first < least; };
    top->erase(std::remove_if(top->begin(), top->end(), below), top->end());
    most = std::max(most, 2 * top->size());  // ties do not make it quadratic
  };
  for (size_t first = 0; first < logits.size(); first += kGlance) {
    const auto glance = logits.subspan(first, kGlance);
    if (Largest(glance) < least) continue;
    for (size_t i = 0; i < glance.size(); ++i) {
      if (!(glance[i] >= least)) continue;
      top->emplace_back(glance[i], static_cast<int32_t>(first + i));
    }
    if (top->size() >= most) sift();
  }
  if (top->size() > k) sift();
}

void SoftCapRows(float cap, MatrixView logits) {
  const int64_t blocks = (logits.cols + kBlock - 1) / kBlock;
  ParallelFor(logits.rows * blocks, [&](int64_t i) {
    const int64_t first = i % blocks * kBlock;
    SoftCap(cap, std::min(kBlock, logits.cols - first),
            logits.row(i / blocks) + first);
  });
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
