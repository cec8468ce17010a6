// Reductions over a vocabulary against plain loops, in every instruction set
// that this CPU has.

#include "kernels/sampling/vocabulary_ops.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/parallel.h"
#include "tests/support/vector_targets.h"

namespace lapidary::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kSizes[] = {1, 3, 63, 64, 65, 4095, 4096, 4097, 20001};

// Many of them equal.
std::vector<float> Logits(int64_t n) {
  std::vector<float> logits;
  for (int64_t i = 0; i < n; ++i) logits.push_back(i * 7919 % 613 * 0.01f - 3);
  return logits;
}

class VocabularyOpsTest : public VectorTargets {};

INSTANTIATE_TEST_SUITE_P(Targets, VocabularyOpsTest, EachVectorTarget(),
                         VectorTargetName);

TEST_P(VocabularyOpsTest, ArgMax_IsTheFirstOfTheLargest) {
  for (int64_t n : kSizes) {
    const auto logits = Logits(n);
    const auto best = std::max_element(logits.begin(), logits.end());
    EXPECT_EQ(ArgMax(logits), best - logits.begin()) << n;
    for (int64_t at : {int64_t{0}, n / 2, n - 1}) {
      auto peaked = logits;
      peaked[at] = 10;
      EXPECT_EQ(ArgMax(peaked), at) << n;
    }
  }
}

TEST_P(VocabularyOpsTest, ArgMaxOfNoNumbers_IsAnId) {
  EXPECT_EQ(ArgMax(std::vector<float>(5000, kNan)), 0);
  EXPECT_EQ(ArgMax(std::vector<float>(5000, -kInf)), 0);
}

TEST_P(VocabularyOpsTest, SelectTop_EqualsASort) {
  for (int64_t n : kSizes) {
    const auto logits = Logits(n);
    auto sorted = logits;
    std::sort(sorted.begin(), sorted.end(), std::greater<float>());
    for (size_t k : {1, 2, 50, 700}) {
      if (k > logits.size()) continue;
      std::vector<Candidate> expected, top;
      for (int64_t i = 0; i < n; ++i) {
        if (logits[i] >= sorted[k - 1]) expected.emplace_back(logits[i], i);
      }
      SelectTop(logits, k, &top);
      ASSERT_EQ(top, expected) << n << " " << k;
    }
  }
}

TEST_P(VocabularyOpsTest, SelectTop_KeepsAllTiesAndNoNan) {
  std::vector<float> logits(5000, 1.0f);
  logits[17] = kNan;
  std::vector<Candidate> top;
  SelectTop(logits, 3, &top);
  EXPECT_EQ(top.size(), 4999u);
  SelectTop(std::vector<float>(70, kNan), 3, &top);
  EXPECT_TRUE(top.empty());
}

TEST_P(VocabularyOpsTest, SoftCapRows_CapsEveryElement) {
  constexpr int64_t kRows = 3, kCols = 5003;
  auto logits = Logits(kRows * kCols);
  const auto before = logits;
  SoftCapRows(2, {logits.data(), kRows, kCols});
  for (int64_t i = 0; i < kRows * kCols; ++i) {
    ASSERT_NEAR(logits[i], 2 * std::tanh(before[i] / 2), 1e-6);
  }
}

TEST_P(VocabularyOpsTest, LogSumExp_DoesNotDependOnTheThreads) {
  const auto logits = Logits(20001);
  SetComputeThreads(1);
  const double alone = LogSumExp(logits);
  for (int threads : {2, 3, 5}) {
    SetComputeThreads(threads);
    EXPECT_EQ(LogSumExp(logits), alone);
  }
}

TEST_P(VocabularyOpsTest, LogSumExp_IsStable) {
  const std::vector<float> high = {1000, 1000}, low = {-1000, -1001};
  EXPECT_NEAR(LogSumExp(high), 1000 + std::log(2.0), 1e-9);
  EXPECT_NEAR(LogSumExp(low), -1000 + std::log1p(std::exp(-1.0)), 1e-9);
  const std::vector<float> one = {-3.25f}, some = {-kInf, 2, -kInf};
  EXPECT_DOUBLE_EQ(LogSumExp(one), -3.25);
  EXPECT_DOUBLE_EQ(LogSumExp(some), 2);
  // Each of a million equal terms counts: f32 would lose some.
  const std::vector<float> many(1000003, 0.0f);
  EXPECT_NEAR(LogSumExp(many), std::log(1000003.0), 1e-12);
}

}  // namespace
}  // namespace lapidary::kernels
