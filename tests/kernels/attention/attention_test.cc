// Attention against a plain loop in f64, in every instruction set that this
// CPU has, with the keys and values cut into pieces anywhere.

#include "kernels/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bf16.h"
#include "tests/support/noise.h"
#include "tests/support/vector_targets.h"

namespace lapidary::kernels {
namespace {

// A query and `positions` keys and values.
struct Problem {
  AttentionShape shape;
  int64_t positions;
  std::vector<float> query, keys, values;

  Problem(DType dtype, int64_t group, int64_t kv_heads, int64_t head_dim,
          int64_t positions)
      : positions(positions) {
    shape.kv_dtype = dtype;
    shape.num_attention_heads = group * kv_heads;
    shape.num_key_value_heads = kv_heads;
    shape.head_dim = head_dim;
    // Scores within a few units of each other.
    const float scale = 4 / std::sqrt(static_cast<float>(head_dim));
    for (int64_t i = 0; i < group * head_dim; ++i) {
      query.push_back(scale * Noise(i, 1));
    }
    for (int64_t i = 0; i < positions * kv_width(); ++i) {
      keys.push_back(Stored(2 * Noise(i, 2)));
      values.push_back(Stored(Noise(i, 3)));
    }
  }

  float Stored(float x) const {
    return shape.kv_dtype == DType::kBf16 ? Bf16ToFloat(FloatToBf16(x)) : x;
  }

  int64_t kv_width() const {
    return shape.num_key_value_heads * shape.head_dim;
  }

  std::vector<double> Expected(int64_t kv_head) const {
    const int64_t width = kv_width(), dim = shape.head_dim;
    std::vector<double> context(shape.group() * dim);
    for (int64_t h = 0; h < shape.group(); ++h) {
      std::vector<double> weights(positions);
      for (int64_t p = 0; p < positions; ++p) {
        for (int64_t i = 0; i < dim; ++i) {
          weights[p] +=
              double{query[h * dim + i]} * keys[p * width + kv_head * dim + i];
        }
      }
      const double top = *std::max_element(weights.begin(), weights.end());
      double sum = 0;
      for (double& w : weights) sum += w = std::exp(w - top);
      for (int64_t p = 0; p < positions; ++p) {
        for (int64_t i = 0; i < dim; ++i) {
          context[h * dim + i] +=
              weights[p] / sum * values[p * width + kv_head * dim + i];
        }
      }
    }
    return context;
  }
};

// The problem's keys and values in runs of the given lengths, each on a piece
// of the heap of its own that ends with the run.
class Runs {
 public:
  Runs(const Problem& problem, const std::vector<int64_t>& counts) {
    int64_t position = 0;
    const int64_t dim = problem.shape.head_dim;
    for (int64_t count : counts) {
      // Row by row as in a step, or head by head as in a page, in turns.
      KvRun run;
      run.count = count;
      const bool by_head = runs_.size() % 2 == 1;
      run.row_stride = by_head ? dim : problem.kv_width();
      run.head_stride = by_head ? count * dim : dim;
      run.keys = Copy(problem, problem.keys, position, run);
      run.values = Copy(problem, problem.values, position, run);
      runs_.push_back(run);
      position += count;
    }
    EXPECT_EQ(position, problem.positions);
  }
  absl::Span<const KvRun> get() const { return runs_; }

 private:
  const std::byte* Copy(const Problem& problem, const std::vector<float>& from,
                        int64_t position, const KvRun& run) {
    const int64_t width = problem.kv_width(), dim = problem.shape.head_dim;
    std::vector<float> numbers(run.count * width);
    for (int64_t i = 0; i < run.count * width; ++i) {
      const int64_t row = i / width, head = i % width / dim;
      numbers[row * run.row_stride + head * run.head_stride + i % dim] =
          from[position * width + i];
    }
    if (problem.shape.kv_dtype == DType::kF32) {
      f32_.push_back(std::move(numbers));
      return reinterpret_cast<const std::byte*>(f32_.back().data());
    }
    std::vector<uint16_t>& bits = bf16_.emplace_back();
    for (float number : numbers) bits.push_back(FloatToBf16(number));
    return reinterpret_cast<const std::byte*>(bits.data());
  }

  std::vector<std::vector<float>> f32_;
  std::vector<std::vector<uint16_t>> bf16_;
  std::vector<KvRun> runs_;
};

std::vector<float> Attend(const Problem& problem, int64_t kv_head,
                          const std::vector<int64_t>& counts) {
  const Runs runs(problem, counts);
  std::vector<float> scores(problem.shape.group() * problem.positions);
  std::vector<float> context(problem.shape.group() * problem.shape.head_dim,
                             1e9f);
  AttendHeadGroup(problem.shape, kv_head, problem.query.data(), runs.get(),
                  scores.data(), context.data());
  return context;
}

void ExpectExact(const Problem& problem) {
  for (int64_t kv_head = 0; kv_head < problem.shape.num_key_value_heads;
       ++kv_head) {
    const auto got = Attend(problem, kv_head, {problem.positions});
    const auto want = problem.Expected(kv_head);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], want[i], 3e-6)
          << NameOf(problem.shape.kv_dtype) << ", group "
          << problem.shape.group() << ", head_dim " << problem.shape.head_dim
          << ", " << problem.positions << " positions, kv_head " << kv_head
          << ", at " << i;
    }
  }
}

class AttentionTest : public VectorTargets {};

INSTANTIATE_TEST_SUITE_P(Targets, AttentionTest, EachVectorTarget(),
                         VectorTargetName);

TEST_P(AttentionTest, EqualsAPlainLoop_ForEveryGroupAndHeadDim) {
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    for (int64_t group = 1; group <= 8; ++group) {
      for (int64_t head_dim : {1, 8, 16, 20, 32, 256}) {
        for (int64_t positions : {1, 3, 65}) {
          ExpectExact(Problem(dtype, group, 2, head_dim, positions));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(AttentionTest, EqualsAPlainLoop_OverManyPositions) {
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    ExpectExact(Problem(dtype, 4, 2, 256, 1100));
    ExpectExact(Problem(dtype, 5, 1, 20, 1100));
  }
}

TEST_P(AttentionTest, RunsCutAnywhere_GiveTheSameBits) {
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    for (int64_t head_dim : {20, 256}) {
      const Problem problem(dtype, 3, 2, head_dim, 37);
      const auto whole = Attend(problem, 1, {37});
      for (int64_t cut = 0; cut <= 37; ++cut) {
        ASSERT_EQ(Attend(problem, 1, {cut, 37 - cut}), whole) << cut;
      }
      EXPECT_EQ(Attend(problem, 1, std::vector<int64_t>(37, 1)), whole);
      EXPECT_EQ(Attend(problem, 1, {1, 0, 16, 15, 0, 5}), whole);
    }
  }
}

TEST_P(AttentionTest, HeadOfAGroup_EqualsTheHeadAlone) {
  for (int64_t group = 2; group <= 8; ++group) {
    for (int64_t head_dim : {20, 32}) {
      const Problem together(DType::kBf16, group, 1, head_dim, 50);
      const auto all = Attend(together, 0, {50});
      for (int64_t h = 0; h < group; ++h) {
        Problem alone = together;
        alone.shape.num_attention_heads = 1;
        alone.query.assign(together.query.begin() + h * head_dim,
                           together.query.begin() + (h + 1) * head_dim);
        const auto one = Attend(alone, 0, {50});
        EXPECT_TRUE(
            std::equal(one.begin(), one.end(), all.begin() + h * head_dim))
            << h << " of " << group << ", head_dim " << head_dim;
      }
    }
  }
}

TEST_P(AttentionTest, OnePosition_GivesItsValueBack) {
  for (DType dtype : {DType::kF32, DType::kBf16}) {
    const Problem problem(dtype, 2, 2, 20, 1);
    const auto context = Attend(problem, 1, {1});
    for (int64_t i = 0; i < 40; ++i) {
      EXPECT_EQ(context[i], problem.values[20 + i % 20]);
    }
  }
}

TEST_P(AttentionTest, HugeScores_DoNotOverflow) {
  Problem problem(DType::kF32, 2, 1, 16, 10);
  for (float& q : problem.query) q = 1000;
  // Key 7 has the highest score, far above the rest.
  for (int64_t i = 0; i < 160; ++i) problem.keys[i] = i / 16 == 7 ? 100 : -100;
  const auto context = Attend(problem, 0, {4, 6});
  for (int64_t i = 0; i < 32; ++i) {
    EXPECT_EQ(context[i], problem.values[7 * 16 + i % 16]);
  }
}

}  // namespace
}  // namespace lapidary::kernels
