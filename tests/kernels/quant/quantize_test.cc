// What quantising weights promises: codes in range, an error below that of
// scaling by the maximum, and an honest account of it.

#include "kernels/quant/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bf16.h"
#include "kernels/half.h"
#include "kernels/quant/block_quantizer.h"
#include "kernels/quant/quant_layout.h"
#include "tests/kernels/quant/noise.h"

namespace lapidary::kernels {
namespace {

constexpr DType kDTypes[] = {DType::kInt8, DType::kInt4};

std::vector<float> Block(uint32_t seed, float scale) {
  std::vector<float> block(kQuantBlock);
  for (int64_t i = 0; i < kQuantBlock; ++i) {
    block[i] = scale * NormalNoise(i, seed);
  }
  return block;
}

double SquaredError(const std::vector<float>& weights,
                    const QuantizedBlock& block) {
  double sum = 0;
  for (int64_t i = 0; i < kQuantBlock; ++i) {
    const double error =
        weights[i] - double{HalfToFloat(block.scale)} * block.codes[i];
    sum += error * error;
  }
  return sum;
}

// The plain way: the largest weight on the end of the range.
double ErrorByMaximum(DType dtype, const std::vector<float>& weights) {
  const float peak = *std::max_element(
      weights.begin(), weights.end(),
      [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  const float scale = dtype == DType::kInt4 ? peak / -8 : peak / 127;
  double sum = 0;
  for (float w : weights) {
    const float high = dtype == DType::kInt4 ? 7 : 127;
    const double code = std::min(std::round(w / scale), high);
    sum += (w - scale * code) * (w - scale * code);
  }
  return sum;
}

TEST(QuantizeBlockTest, ErrorIsAsReported_AndCodesAreInRange) {
  for (DType dtype : kDTypes) {
    const int low = dtype == DType::kInt4 ? -8 : -127;
    const int high = dtype == DType::kInt4 ? 7 : 127;
    for (uint32_t seed = 0; seed < 300; ++seed) {
      const auto weights = Block(seed, std::pow(10.0f, seed % 9 - 5.0f));
      const QuantizedBlock block = QuantizeBlock(dtype, weights.data());
      const double error = SquaredError(weights, block);
      EXPECT_NEAR(block.squared_error, error, 1e-4 * error) << seed;
      for (int8_t code : block.codes) {
        ASSERT_GE(code, low);
        ASSERT_LE(code, high);
      }
    }
  }
}

TEST(QuantizeBlockTest, ErrorIsBelowThatOfTheMaximum) {
  for (DType dtype : kDTypes) {
    double chosen = 0, by_maximum = 0;
    for (uint32_t seed = 0; seed < 300; ++seed) {
      auto weights = Block(seed, 0.02f);
      if (seed % 3 == 0) weights[seed % kQuantBlock] *= 6;  // an outlier
      const double error =
          SquaredError(weights, QuantizeBlock(dtype, weights.data()));
      const double plain = ErrorByMaximum(dtype, weights);
      // One block's scale may round badly to fp16, by 2^-11.
      EXPECT_LE(error, plain * 1.05) << seed;
      chosen += error;
      by_maximum += plain;
    }
    EXPECT_LT(chosen, by_maximum * (dtype == DType::kInt4 ? 0.95 : 1.0));
  }
}

TEST(QuantizeBlockTest, WhatTheCodesHoldExactly_IsExact) {
  for (DType dtype : kDTypes) {
    const int high = dtype == DType::kInt4 ? 7 : 127;
    for (float scale : {0.5f, -0.25f, 3.0f}) {
      std::vector<float> weights;
      for (int i = 0; i < kQuantBlock; ++i) {
        weights.push_back(scale * (i % (high + 1)) * (i % 2 == 0 ? 1 : -1));
      }
      weights[0] = -scale * (high + (dtype == DType::kInt4 ? 1 : 0));
      const auto block = QuantizeBlock(dtype, weights.data());
      EXPECT_EQ(block.squared_error, 0) << NameOf(dtype) << " " << scale;
    }
  }
}

TEST(QuantizeBlockTest, Extremes) {
  for (DType dtype : kDTypes) {
    const std::vector<float> zeros(kQuantBlock, 0.0f);
    const auto none = QuantizeBlock(dtype, zeros.data());
    EXPECT_EQ(none.squared_error, 0);
    EXPECT_EQ(SquaredError(zeros, none), 0);
    // Below what a scale in fp16 can tell from zero.
    for (float tiny : {1e-12f, 1e-40f}) {
      const std::vector<float> weights(kQuantBlock, tiny);
      const auto block = QuantizeBlock(dtype, weights.data());
      EXPECT_LE(SquaredError(weights, block), 33.0 * tiny * tiny);
    }
    const std::vector<float> largest(kQuantBlock, -kMaxQuantWeight);
    EXPECT_LE(SquaredError(largest, QuantizeBlock(dtype, largest.data())),
              1e-6 * kQuantBlock * double{kMaxQuantWeight} * kMaxQuantWeight);
  }
}

TEST(QuantizeBlockTest, LoneWeightAmongZeros_IsKept) {
  for (DType dtype : kDTypes) {
    for (float weight : {0.013f, -0.013f}) {
      std::vector<float> weights(kQuantBlock, 0.0f);
      weights[17] = weight;
      const auto block = QuantizeBlock(dtype, weights.data());
      EXPECT_LE(std::sqrt(block.squared_error), 5e-4 * std::fabs(weight));
    }
  }
}

// A whole matrix, back from the layout.
struct Packed {
  QuantError error;
  std::vector<float> values;  // [rows][k]
  std::vector<uint8_t> bytes;

  Packed(DType source, const void* rows, int64_t count, int64_t k, DType target)
      : values(count * k), bytes(*QuantPanelBytes(target, k), 0xAB) {
    error = QuantizePanel(source, rows, count, k, target, bytes.data());
    for (int64_t row = 0; row < count; ++row) {
      DequantizeRow(target, bytes.data(), row, k, &values[row * k]);
    }
  }
};

TEST(QuantizePanelTest, ErrorIsThatOfTheRowsReadBack_AtEveryShape) {
  for (DType dtype : kDTypes) {
    for (int64_t count : {1, 7, 16}) {
      for (int64_t k : {1, 31, 32, 33, 64, 65, 130}) {
        std::vector<float> rows(count * k);
        double squares = 0, errors = 0;
        for (size_t i = 0; i < rows.size(); ++i) {
          rows[i] = NormalNoise(i, 3);
          squares += double{rows[i]} * rows[i];
        }
        const Packed packed(DType::kF32, rows.data(), count, k, dtype);
        for (size_t i = 0; i < rows.size(); ++i) {
          const double error = double{rows[i]} - packed.values[i];
          errors += error * error;
        }
        const double rms = std::sqrt(errors / squares);
        EXPECT_NEAR(packed.error.RelativeRms(), rms, 1e-4 * rms + 1e-9);
        EXPECT_LT(rms, dtype == DType::kInt4 ? 0.12 : 0.01)
            << count << " " << k;
        EXPECT_FALSE(packed.error.out_of_range);
      }
    }
  }
}

TEST(QuantizePanelTest, RelativeErrorOfNormalWeights) {
  constexpr int64_t kK = 2048;
  std::vector<float> rows(16 * kK);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = 0.02f * NormalNoise(i, 5);
  const double int8 = Packed(DType::kF32, rows.data(), 16, kK, DType::kInt8)
                          .error.RelativeRms();
  const double int4 = Packed(DType::kF32, rows.data(), 16, kK, DType::kInt4)
                          .error.RelativeRms();
  std::printf("normal weights: int8 %.2f %%, int4 %.2f %%\n", 100 * int8,
              100 * int4);
  EXPECT_LT(int8, 0.006);
  EXPECT_LT(int4, 0.085);
}

TEST(QuantizePanelTest, Bf16Source_IsTheSameAsItsF32) {
  std::vector<uint16_t> bits;
  std::vector<float> wide;
  for (int64_t i = 0; i < 16 * 100; ++i) {
    bits.push_back(FloatToBf16(NormalNoise(i, 6)));
    wide.push_back(Bf16ToFloat(bits.back()));
  }
  for (DType dtype : kDTypes) {
    const Packed a(DType::kBf16, bits.data(), 16, 100, dtype);
    const Packed b(DType::kF32, wide.data(), 16, 100, dtype);
    EXPECT_EQ(a.bytes, b.bytes);
    EXPECT_EQ(a.error.squared_error, b.error.squared_error);
  }
}

TEST(QuantizePanelTest, PaddingHasTheScaleZero) {
  const std::vector<float> rows(3 * 33, 1.0f);
  for (DType dtype : kDTypes) {
    const Packed packed(DType::kF32, rows.data(), 3, 33, dtype);
    // Read as if it were larger.
    for (int64_t row = 0; row < 16; ++row) {
      std::vector<float> values(64);
      DequantizeRow(dtype, packed.bytes.data(), row, 64, values.data());
      for (int64_t i = 0; i < 64; ++i) {
        if (row < 3 && i < 33) continue;
        ASSERT_EQ(values[i], 0) << row << ", " << i;
      }
    }
  }
}

TEST(QuantizePanelTest, WeightThatNoScaleReaches_IsReported) {
  for (float bad : {std::numeric_limits<float>::infinity(), 1e6f,
                    std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> rows(2 * 40, 0.5f);
    rows[77] = bad;
    for (DType dtype : kDTypes) {
      EXPECT_TRUE(
          Packed(DType::kF32, rows.data(), 2, 40, dtype).error.out_of_range);
    }
  }
}

}  // namespace
}  // namespace lapidary::kernels
