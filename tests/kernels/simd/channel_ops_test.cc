// Norms, activations and softmax of pixels' channels against plain loops in
// f64, at lengths around every vector width, in every instruction set that this
// CPU has.
#include "kernels/simd/channel_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bf16.h"
#include "tests/support/vector_targets.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kRows = 3;
constexpr int64_t kLengths[] = {1, 2, 7, 8, 16, 17, 33, 64, 127, 640};

// Of an activation as bf16: half of its last bit, and what it makes room for.
constexpr double kBf16Error = 1.0 / 256 + 5e-4;

std::vector<float> Noise(int64_t count, uint32_t seed, float scale) {
  std::vector<float> values(count);
  uint32_t state = seed;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = scale * (static_cast<float>(state >> 8) / (1 << 23) - 1.0f);
  }
  return values;
}

double Gelu(double x) {
  const double root = std::sqrt(2 / 3.14159265358979323846);
  return x / 2 * (1 + std::tanh(root * (x + 0.044715 * x * x * x)));
}

// activation(RMS(x) ⊙ weight) in f64.
std::vector<double> WantNorm(const std::vector<float>& x, int64_t n,
                             const ChannelNorm& norm) {
  std::vector<double> want(x.size());
  for (size_t r = 0; r * n < x.size(); ++r) {
    double squares = 0;
    for (int64_t i = 0; i < n; ++i) {
      squares += double{x[r * n + i]} * x[r * n + i];
    }
    for (int64_t i = 0; i < n; ++i) {
      double v = x[r * n + i] / std::sqrt(squares / n + norm.eps);
      if (norm.weight != nullptr) v *= norm.weight[i];
      want[r * n + i] = norm.activation == Activation::kNone ? v : Gelu(v);
    }
  }
  return want;
}

class ChannelOpsTest : public VectorTargets {};

INSTANTIATE_TEST_SUITE_P(Targets, ChannelOpsTest, EachVectorTarget(),
                         VectorTargetName);

TEST_P(ChannelOpsTest, NormRows_EveryTypeAndActivation_InPlaceToo) {
  for (const int64_t n : kLengths) {
    const auto x = Noise(kRows * n, 1, 40);
    const auto weight = Noise(n, 2, 6);
    for (const auto activation : {Activation::kNone, Activation::kGeluTanh}) {
      for (const float* w :
           {weight.data(), static_cast<const float*>(nullptr)}) {
        const ChannelNorm norm = {w, 1e-6f, activation};
        const auto want = WantNorm(x, n, norm);
        std::vector<float> out(x.size()), narrow = x;
        NormRows(x.data(), kRows, n, norm, DType::kF32, out.data());
        NormRows(narrow.data(), kRows, n, norm, DType::kBf16, narrow.data());
        const auto* bits = reinterpret_cast<const uint16_t*>(narrow.data());
        for (size_t i = 0; i < want.size(); ++i) {
          ASSERT_NEAR(out[i], want[i], 3e-6 * std::max(1.0, std::fabs(want[i])))
              << n;
          uint16_t got;
          std::memcpy(&got, bits + i, sizeof(got));
          if (activation == Activation::kNone) {
            ASSERT_EQ(got, FloatToBf16(out[i])) << n << " " << i;
          } else {
            ASSERT_NEAR(Bf16ToFloat(got), want[i],
                        kBf16Error * std::fabs(want[i]) + 1e-6)
                << n << " " << i;
          }
        }
      }
    }
  }
}

TEST_P(ChannelOpsTest, NormTypedRows_OfBf16_AreThoseOfTheSameNumbers) {
  for (const int64_t n : kLengths) {
    std::vector<uint16_t> x;
    std::vector<float> wide;
    for (const float value : Noise(kRows * n, 1, 40)) {
      x.push_back(FloatToBf16(value));
      wide.push_back(Bf16ToFloat(x.back()));
    }
    const auto weight = Noise(n, 2, 6);
    for (const auto activation : {Activation::kNone, Activation::kGeluTanh}) {
      const ChannelNorm norm = {weight.data(), 1e-6f, activation};
      for (const DType type : {DType::kF32, DType::kBf16}) {
        std::vector<float> want(x.size()), out(x.size());
        NormRows(wide.data(), kRows, n, norm, type, want.data());
        NormTypedRows(DType::kBf16, x.data(), kRows, n, norm, type, out.data());
        ASSERT_EQ(std::memcmp(out.data(), want.data(), x.size() * SizeOf(type)),
                  0)
            << n;
      }
      std::vector<float> want(x.size());
      std::vector<uint16_t> in_place = x;
      NormRows(wide.data(), kRows, n, norm, DType::kBf16, want.data());
      NormTypedRows(DType::kBf16, in_place.data(), kRows, n, norm, DType::kBf16,
                    in_place.data());
      ASSERT_EQ(std::memcmp(in_place.data(), want.data(), x.size() * 2), 0)
          << n;
    }
  }
}

TEST_P(ChannelOpsTest, Gelu_HoldsAtTheEnds) {
  const std::vector<float> x = {-1e6f, 1e6f, -30, 30, -1, 1, 0, -0.0f};
  std::vector<float> ones(x.size(), 1), out(x.size());
  // A norm of one channel gives ±1 of anything: many channels keep the spread.
  NormRows(x.data(), 1, x.size(), {ones.data(), 1e20f, Activation::kGeluTanh},
           DType::kF32, out.data());
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(out[i], Gelu(x[i] * 1e-10), 1e-10) << x[i];
  }
  const std::vector<float> large(x.size(), 1e4f);
  NormRows(x.data(), 1, x.size(), {large.data(), 1e-6f, Activation::kGeluTanh},
           DType::kF32, out.data());
  EXPECT_NEAR(out[0], 0, 1e-6);
  EXPECT_NEAR(out[1], 2e4f, 1);
}

TEST_P(ChannelOpsTest, NormRowsAdd_WithAndWithoutShortcut) {
  for (const int64_t n : kLengths) {
    const auto x = Noise(kRows * n, 3, 2);
    const auto weight = Noise(n, 4, 2);
    const auto skip = Noise(kRows * n, 5, 2);
    const ChannelNorm norm = {weight.data(), 1e-6f, Activation::kNone};
    const auto want = WantNorm(x, n, norm);
    std::vector<float> alone(x.size()), sum = skip;
    NormRowsAdd(x.data(), kRows, n, norm, nullptr, alone.data());
    NormRowsAdd(x.data(), kRows, n, norm, sum.data(), sum.data());
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_NEAR(alone[i], want[i], 2e-6) << n;
      ASSERT_NEAR(sum[i], want[i] + skip[i], 2e-6) << n;
    }
  }
}

TEST_P(ChannelOpsTest, ScaleRowsAdd_And_AddBias) {
  for (const int64_t n : kLengths) {
    const auto x = Noise(kRows * n, 6, 2);
    const auto gamma = Noise(n, 7, 2);
    const auto skip = Noise(kRows * n, 8, 2);
    std::vector<float> all(x.size()), biased = x;
    ScaleRowsAdd(x.data(), kRows, n, gamma.data(), skip.data(), all.data());
    AddBias(gamma.data(), kRows, n, biased.data());
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(all[i], double{x[i]} * gamma[i % n] + skip[i], 1e-6) << n;
      ASSERT_EQ(biased[i], x[i] + gamma[i % n]) << n;
    }
  }
}

TEST_P(ChannelOpsTest, ExpRowsThenDivideRows_IsSoftmax) {
  for (const int64_t n : kLengths) {
    auto x = Noise(kRows * n, 9, 60);
    const float scale = 0.3f;
    std::vector<float> sums(kRows), weights(x.size());
    ExpRows(x.data(), kRows, n, scale, DType::kF32, weights.data(),
            sums.data());
    DivideRows(weights.data(), kRows, n, sums.data(), DType::kF32,
               weights.data());
    for (int64_t r = 0; r < kRows; ++r) {
      const float* row = &x[r * n];
      const double top = *std::max_element(row, row + n);
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += std::exp(scale * (row[i] - top));
      for (int64_t i = 0; i < n; ++i) {
        const double want = std::exp(scale * (row[i] - top)) / sum;
        ASSERT_NEAR(weights[r * n + i], want, 3e-6) << n;
      }
    }
    std::vector<float> again(kRows);
    const std::vector<float> before = x;
    ExpRows(x.data(), kRows, n, scale, DType::kBf16, x.data(), again.data());
    for (int64_t r = 0; r < kRows; ++r) {
      ASSERT_NEAR(again[r], sums[r], 1e-4 * sums[r]) << n;
    }
    for (size_t i = 0; i < x.size(); ++i) {
      uint16_t bits;
      std::memcpy(&bits, reinterpret_cast<const uint16_t*>(x.data()) + i, 2);
      const float want = weights[i] * sums[i / n];
      ASSERT_NEAR(Bf16ToFloat(bits), want, kBf16Error * want + 1e-30) << n;
    }
  }
}

TEST_P(ChannelOpsTest, Bf16_OfANaN_IsNaN) {
  const std::vector<float> x(40, std::numeric_limits<float>::quiet_NaN());
  std::vector<uint16_t> out(x.size());
  Convert(x.data(), x.size(), DType::kBf16, out.data());
  for (const uint16_t bits : out) EXPECT_TRUE(std::isnan(Bf16ToFloat(bits)));
}

TEST_P(ChannelOpsTest, Convert_RoundsToNearestEven_InPlace) {
  for (const int64_t n : kLengths) {
    auto x = Noise(n, 10, 1000);
    const auto before = x;
    Convert(x.data(), n, DType::kBf16, x.data());
    for (int64_t i = 0; i < n; ++i) {
      uint16_t bits;
      std::memcpy(&bits, reinterpret_cast<const uint16_t*>(x.data()) + i, 2);
      ASSERT_EQ(bits, FloatToBf16(before[i])) << n << " " << i;
    }
  }
}

}  // namespace
}  // namespace lapidary::kernels
