// Every row operation against a plain loop in f64, at lengths around every
// vector width, in every instruction set that this CPU has.

#include "kernels/simd/row_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/highway.h"
#include "kernels/bf16.h"
#include "tests/support/noise.h"
#include "tests/support/vector_targets.h"

namespace lapidary::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr double kEpsilon = std::numeric_limits<float>::epsilon();
constexpr int64_t kLengths[] = {1,  2,  3,  4,  7,  8,   15,  16,  17,
                                31, 33, 63, 64, 65, 127, 200, 2048};

// Exactly `n` numbers on the heap, where a sanitizer sees a step past the end.
std::vector<float> Row(int64_t n, uint32_t seed, float scale = 3) {
  std::vector<float> row(n);
  for (int64_t i = 0; i < n; ++i) row[i] = scale * Noise(i, seed);
  return row;
}

double GeluTanh(double x) {
  const double root = std::sqrt(2 / 3.14159265358979323846);
  return x / 2 * (1 + std::tanh(root * (x + 0.044715 * x * x * x)));
}

class RowOpsTest : public VectorTargets {};

INSTANTIATE_TEST_SUITE_P(Targets, RowOpsTest, EachVectorTarget(),
                         VectorTargetName);

TEST_P(RowOpsTest, VectorTarget_IsTheOneInUse) {
  EXPECT_STREQ(VectorTarget(), hwy::TargetName(GetParam()));
}

TEST_P(RowOpsTest, Dot_And_MeanOfSquares) {
  for (int64_t n : kLengths) {
    const auto a = Row(n, 1), b = Row(n, 2);
    double dot = 0, size = 0, squares = 0;
    for (int64_t i = 0; i < n; ++i) {
      dot += double{a[i]} * b[i];
      size += std::abs(double{a[i]} * b[i]);
      squares += double{a[i]} * a[i];
    }
    const double tolerance = 8 * kEpsilon;
    EXPECT_NEAR(Dot(a.data(), b.data(), n), dot, tolerance * size) << n;
    EXPECT_NEAR(MeanOfSquares(a.data(), n), squares / n,
                tolerance * squares / n)
        << n;
  }
}

TEST_P(RowOpsTest, RmsNorm_WithAndWithoutWeight_InPlaceAndNot) {
  const float epsilon = 1e-6f;
  for (int64_t n : kLengths) {
    const auto x = Row(n, 3), weight = Row(n, 4);
    double squares = 0;
    for (float v : x) squares += double{v} * v;
    const double inverse = 1 / std::sqrt(squares / n + epsilon);
    std::vector<float> plain(n), weighted(n), in_place = x;
    RmsNorm(x.data(), nullptr, epsilon, n, plain.data());
    RmsNorm(x.data(), weight.data(), epsilon, n, weighted.data());
    RmsNorm(in_place.data(), weight.data(), epsilon, n, in_place.data());
    EXPECT_EQ(in_place, weighted) << n;
    for (int64_t i = 0; i < n; ++i) {
      const double want = x[i] * inverse;
      ASSERT_NEAR(plain[i], want, 1e-6 * std::abs(want)) << n << ", " << i;
      ASSERT_NEAR(weighted[i], want * weight[i],
                  1e-6 * std::abs(want * weight[i]))
          << n << ", " << i;
    }
  }
}

TEST_P(RowOpsTest, RmsNormOfZeros_IsZeros) {
  for (int64_t n : kLengths) {
    std::vector<float> x(n, 0.0f);
    RmsNorm(x.data(), nullptr, 1e-6f, n, x.data());
    EXPECT_EQ(x, std::vector<float>(n, 0.0f));
  }
}

TEST_P(RowOpsTest, Scale_InPlaceAndNot_And_AddScaled) {
  for (int64_t n : kLengths) {
    const auto x = Row(n, 5);
    auto y = Row(n, 6), in_place = x;
    const auto before = y;
    std::vector<float> scaled(n);
    Scale(-1.7f, x.data(), n, scaled.data());
    Scale(-1.7f, in_place.data(), n, in_place.data());
    AddScaled(0.3f, x.data(), n, y.data());
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(scaled[i], -1.7f * x[i]);
      const double want = before[i] + double{0.3f} * x[i];
      ASSERT_NEAR(y[i], want, kEpsilon * (std::abs(before[i]) + 1)) << i;
    }
    EXPECT_EQ(in_place, scaled);
  }
}

TEST_P(RowOpsTest, ScaledSum_InPlaceAndNot) {
  for (int64_t n : kLengths) {
    const auto x = Row(n, 5), y = Row(n, 6);
    auto in_place = y;
    std::vector<float> out(n);
    ScaledSum(0.3f, x.data(), y.data(), n, out.data());
    ScaledSum(0.3f, x.data(), in_place.data(), n, in_place.data());
    for (int64_t i = 0; i < n; ++i) {
      const double want = y[i] + double{0.3f} * x[i];
      ASSERT_NEAR(out[i], want, kEpsilon * (std::abs(y[i]) + 1)) << i;
    }
    EXPECT_EQ(in_place, out);
  }
}

TEST_P(RowOpsTest, MixRows_AddsEachRowToItsMixture) {
  for (int64_t rows : {1, 2, 4, 8}) {
    const auto coefficients = Row(rows * rows, 11);
    for (int64_t n : kLengths) {
      std::vector<std::vector<float>> x, out(rows, std::vector<float>(n));
      std::vector<const float*> from;
      std::vector<float*> to;
      for (int64_t i = 0; i < rows; ++i) {
        x.push_back(Row(n, 20 + i));
        to.push_back(out[i].data());
      }
      for (const auto& row : x) from.push_back(row.data());
      MixRows(coefficients.data(), rows, from.data(), n, to.data());
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t at = 0; at < n; ++at) {
          double want = x[i][at], size = std::abs(x[i][at]);
          for (int64_t j = 0; j < rows; ++j) {
            const double term = double{coefficients[i * rows + j]} * x[j][at];
            want += term;
            size += std::abs(term);
          }
          ASSERT_NEAR(out[i][at], want, 4 * kEpsilon * size)
              << rows << " " << i;
        }
      }
    }
  }
}

TEST_P(RowOpsTest, GeluTanhTimes) {
  for (int64_t n : kLengths) {
    auto x = Row(n, 7, 8);
    const auto y = Row(n, 8), before = x;
    GeluTanhTimes(y.data(), n, x.data());
    for (int64_t i = 0; i < n; ++i) {
      // For x well below zero 1 + tanh cancels: the error is one of 1, not of
      // the result.
      ASSERT_NEAR(x[i], GeluTanh(before[i]) * y[i],
                  4 * kEpsilon * std::abs(before[i] * y[i]))
          << n << ": x = " << before[i];
    }
  }
}

TEST_P(RowOpsTest, GeluTanh_AtTheExtremes) {
  for (int64_t n : {1, 16, 17}) {
    const std::vector<float> one(n, 1.0f);
    const auto gelu = [&](float value) {
      std::vector<float> x(n, value);
      GeluTanhTimes(one.data(), n, x.data());
      EXPECT_EQ(x, std::vector<float>(n, x[0]));
      return x[0];
    };
    EXPECT_EQ(gelu(0), 0);
    EXPECT_EQ(gelu(20), 20);
    EXPECT_EQ(gelu(-20), 0);
    EXPECT_EQ(gelu(1e30f), 1e30f);  // whose cube overflows
    EXPECT_EQ(gelu(-1e30f), 0);
    EXPECT_EQ(gelu(kInf), kInf);
    EXPECT_NEAR(gelu(1e-20f), 0.5e-20f, 1e-26);
  }
}

TEST_P(RowOpsTest, GaussianTopK_KeepsWhatIsAboveTheCutoff) {
  for (int64_t n : kLengths) {
    for (float multiplier : {1.6448536f, 0.0f, -1.0f}) {
      auto x = Row(n, 9);
      const auto before = x;
      double mean = 0, variance = 0;
      for (float v : x) mean += v / double(n);
      for (float v : x) variance += (v - mean) * (v - mean) / n;
      const double cutoff = mean + std::sqrt(variance) * multiplier;
      GaussianTopK(multiplier, n, x.data());
      for (int64_t i = 0; i < n; ++i) {
        ASSERT_NEAR(x[i], std::max(before[i] - cutoff, 0.0), 3e-6) << n;
        ASSERT_GE(x[i], 0) << n;
      }
    }
  }
}

TEST_P(RowOpsTest, GaussianTopK_FarFromZero_DoesNotCancel) {
  // mean(x²) - mean(x)² would be noise here.
  std::vector<float> x(200);
  for (int i = 0; i < 200; ++i) x[i] = 4096 + (i % 2 == 0 ? 1 : -1);
  GaussianTopK(0.5f, 200, x.data());
  for (int i = 0; i < 200; ++i) ASSERT_EQ(x[i], i % 2 == 0 ? 0.5f : 0) << i;
}

TEST_P(RowOpsTest, GaussianTopK_OfWhatIsNoNumber_IsNoNumber) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), kInf}) {
    auto x = Row(70, 12);
    x[33] = bad;
    GaussianTopK(1.6f, 70, x.data());
    for (float v : x) ASSERT_TRUE(std::isnan(v));
  }
}

TEST_P(RowOpsTest, NonZeroBits_AreThoseOfTheNumbersThatAreNotZero) {
  for (int64_t n : kLengths) {
    auto x = Row(n, 13);
    for (int64_t i = 0; i < n; ++i) {
      if (i % 3 != 0) x[i] = i % 2 == 0 ? 0.0f : -0.0f;
    }
    if (n > 4) x[4] = std::numeric_limits<float>::quiet_NaN();
    std::vector<uint64_t> bits((n + 63) / 64, ~uint64_t{0});
    NonZeroBits(x.data(), n, bits.data());
    for (int64_t i = 0; i < static_cast<int64_t>(bits.size()) * 64; ++i) {
      const bool want = i < n && !(x[i] == 0);
      ASSERT_EQ(bits[i / 64] >> (i % 64) & 1, want) << i << " of " << n;
    }
  }
}

TEST_P(RowOpsTest, SoftCap_NeverExceedsTheCap) {
  for (int64_t n : kLengths) {
    auto x = Row(n, 10, 90);
    x[0] = 1e30f;
    x[n - 1] = n > 1 ? -kInf : x[0];
    const auto before = x;
    SoftCap(30, n, x.data());
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_NEAR(x[i], 30 * std::tanh(before[i] / 30.0), 30 * 2 * kEpsilon);
      ASSERT_LE(std::abs(x[i]), 30);
    }
  }
}

TEST_P(RowOpsTest, Softmax_SumsToOne) {
  for (int64_t n : kLengths) {
    for (float shift : {0.0f, 1000.0f, -1000.0f}) {
      auto x = Row(n, 11, 10);
      for (float& v : x) v += shift;
      const auto before = x;
      double top = -1e300, sum = 0, total = 0;
      for (float v : x) top = std::max<double>(top, v);
      for (float v : x) sum += std::exp(v - top);
      Softmax(n, x.data());
      for (int64_t i = 0; i < n; ++i) {
        const double want = std::exp(before[i] - top) / sum;
        // x - top rounds, and its error is a relative one of the exponential;
        // the sum of 2048 terms has one of its own.
        ASSERT_NEAR(x[i], want, kEpsilon * (32 + top - before[i]) * want)
            << n << ", " << i;
        total += x[i];
      }
      EXPECT_NEAR(total, 1, 2e-6);
    }
  }
}

TEST_P(RowOpsTest, Softmax_OfHugeDifferences_IsOneAndZeros) {
  for (int64_t n : kLengths) {
    for (int64_t best : {int64_t{0}, n / 2, n - 1}) {
      std::vector<float> x(n, -3e38f);
      x[best] = 100;
      std::vector<float> want(n, 0.0f);
      want[best] = 1;
      Softmax(n, x.data());
      ASSERT_EQ(x, want) << n << ", " << best;
    }
  }
}

// Bit patterns of f32 where rounding to bf16 can go wrong, and many more.
std::vector<float> RoundingCases() {
  std::vector<uint32_t> bits;
  for (uint32_t high : {0x0000u, 0x0001u, 0x007Fu, 0x0080u, 0x3F80u, 0x3F81u,
                        0x7F7Fu, 0x7F80u, 0x7FC0u, 0x7FFFu}) {
    for (uint32_t low :
         {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      bits.push_back(high << 16 | low);
      bits.push_back(0x80000000u | high << 16 | low);
    }
  }
  for (uint32_t i = 0; i < 20000; ++i) bits.push_back(i * 2654435761u);
  std::vector<float> values(bits.size());
  std::memcpy(values.data(), bits.data(), bits.size() * sizeof(float));
  return values;
}

TEST_P(RowOpsTest, ToBf16_EqualsTheScalarRounding_ForEveryBit) {
  const std::vector<float> values = RoundingCases();
  const auto count = static_cast<int64_t>(values.size());
  for (int64_t n : {int64_t{1}, int64_t{3}, int64_t{17}, count}) {
    for (int64_t first = 0; first + n <= std::min<int64_t>(count, 256 + n);
         ++first) {
      const std::vector<float> row(&values[first], &values[first] + n);
      std::vector<uint16_t> rounded(n), want(n);
      for (int64_t i = 0; i < n; ++i) want[i] = FloatToBf16(row[i]);
      ToBf16(row.data(), n, rounded.data());
      ASSERT_EQ(rounded, want) << n << ", " << first;
    }
  }
}

TEST_P(RowOpsTest, FromBf16_IsExact_ForEveryFiniteNumber) {
  std::vector<uint16_t> bits;
  for (uint32_t b = 0; b < 0x10000; ++b) {
    if ((b & 0x7F80) != 0x7F80) bits.push_back(b);
  }
  std::vector<float> plain(bits.size()), scaled(bits.size());
  FromBf16(bits.data(), 1.0f, bits.size(), plain.data());
  FromBf16(bits.data(), 45.25f, bits.size(), scaled.data());
  for (size_t i = 0; i < bits.size(); ++i) {
    ASSERT_EQ(plain[i], Bf16ToFloat(bits[i])) << bits[i];
    ASSERT_EQ(scaled[i], 45.25f * Bf16ToFloat(bits[i])) << bits[i];
  }
  for (int64_t n : kLengths) {
    const std::vector<uint16_t> row(n, 0xC0A0);  // -5
    std::vector<float> out(n);
    FromBf16(row.data(), 0.5f, n, out.data());
    EXPECT_EQ(out, std::vector<float>(n, -2.5f)) << n;
  }
}

TEST_P(RowOpsTest, RowsToBf16_RoundsEveryRow) {
  constexpr int64_t kRows = 37, kCols = 29;
  const auto x = Row(kRows * kCols, 12);
  std::vector<uint16_t> out(kRows * kCols), want;
  for (float v : x) want.push_back(FloatToBf16(v));
  RowsToBf16({x.data(), kRows, kCols}, out.data());
  EXPECT_EQ(out, want);
}

TEST_P(RowOpsTest, ResultDependsOnTheRowAlone_NotOnItsAddress) {
  constexpr int64_t kN = 203;
  const auto row = Row(kN, 13), other = Row(kN, 14);
  for (int offset = 0; offset < 20; ++offset) {
    std::vector<float> moved(kN + offset, 1e10f);
    std::copy(row.begin(), row.end(), moved.begin() + offset);
    ASSERT_EQ(Dot(moved.data() + offset, other.data(), kN),
              Dot(row.data(), other.data(), kN));
    std::vector<float> a = row, b = moved;
    Softmax(kN, a.data());
    Softmax(kN, b.data() + offset);
    ASSERT_TRUE(std::equal(a.begin(), a.end(), b.begin() + offset));
    for (int i = 0; i < offset; ++i) ASSERT_EQ(b[i], 1e10f);
  }
}

}  // namespace
}  // namespace lapidary::kernels
