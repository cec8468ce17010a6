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
#include "kernels/quant/quant_layout.h"
#include "kernels/quant/row_quantizer.h"
#include "tests/support/noise.h"

namespace lapidary::kernels {
namespace {

constexpr DType kDTypes[] = {DType::kInt8, DType::kInt4};

std::vector<float> Row(int64_t k, uint32_t seed, float scale) {
  std::vector<float> row(k);
  for (int64_t i = 0; i < k; ++i) row[i] = scale * NormalNoise(i, seed);
  return row;
}

CodeGrid GridOf(DType dtype, const QuantizedRow& row, int64_t i) {
  return dtype == DType::kInt4 ? UnpackGrid(row.grids[i / kQuantBlock])
                               : kInt8Grid;
}

double SquaredError(DType dtype, const std::vector<float>& weights,
                    const QuantizedRow& row) {
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const CodeGrid grid = GridOf(dtype, row, i);
    const double weight =
        double{row.scale} * grid.multiplier * (row.codes[i] - grid.zero);
    sum += (weights[i] - weight) * (weights[i] - weight);
  }
  return sum;
}

QuantizedRow Quantize(DType dtype, const std::vector<float>& weights,
                      double* error) {
  return QuantizeRow(dtype, weights, error);
}

// The plain way: the largest weight of `together` on the end of the range.
double ErrorByMaximum(DType dtype, const std::vector<float>& weights,
                      size_t together) {
  double sum = 0;
  for (size_t first = 0; first < weights.size(); first += together) {
    const size_t end = std::min(weights.size(), first + together);
    float peak = 0;
    for (size_t i = first; i < end; ++i) {
      if (std::fabs(weights[i]) > std::fabs(peak)) peak = weights[i];
    }
    const float scale = dtype == DType::kInt4 ? peak / -8 : peak / 127;
    const float high = dtype == DType::kInt4 ? 7 : 127;
    for (size_t i = first; i < end; ++i) {
      const double code = std::min(std::round(weights[i] / scale), high);
      sum += std::pow(weights[i] - scale * code, 2);
    }
  }
  return sum;
}

TEST(QuantizeRowTest, ErrorIsAsReported_AndCodesAreInRange) {
  for (DType dtype : kDTypes) {
    for (uint32_t seed = 0; seed < 300; ++seed) {
      const auto weights =
          Row(seed % 70 + 1, seed, std::pow(10.0f, seed % 9 - 5.0f));
      double reported = 0;
      const QuantizedRow row = Quantize(dtype, weights, &reported);
      const double error = SquaredError(dtype, weights, row);
      EXPECT_NEAR(reported, error, 1e-4 * error) << seed;
      ASSERT_EQ(row.codes.size(), 128u);
      for (size_t i = 0; i < row.codes.size(); ++i) {
        if (dtype == DType::kInt8) {
          ASSERT_GE(row.codes[i], 1);
        } else {
          ASSERT_LE(row.codes[i], 15);
        }
        if (i >= weights.size()) {
          const CodeGrid grid = GridOf(dtype, row, i);
          ASSERT_EQ(grid.multiplier * (row.codes[i] - grid.zero), 0);
        }
      }
    }
  }
}

TEST(QuantizeRowTest, ErrorIsBelowThatOfTheMaximum) {
  for (DType dtype : kDTypes) {
    const size_t together = dtype == DType::kInt4 ? 32 : 1024;
    double chosen = 0, by_maximum = 0;
    for (uint32_t seed = 0; seed < 100; ++seed) {
      auto weights = Row(1024, seed, 0.02f);
      if (seed % 3 == 0) weights[seed] *= 4;
      double error = 0;
      Quantize(dtype, weights, &error);
      chosen += error;
      by_maximum += ErrorByMaximum(dtype, weights, together);
    }
    EXPECT_LT(chosen, by_maximum * (dtype == DType::kInt4 ? 0.96 : 1.0))
        << NameOf(dtype);
  }
}

TEST(QuantizeRowTest, WhatTheCodesHoldExactly_IsExact) {
  for (DType dtype : kDTypes) {
    for (float scale : {0.5f, 0.25f, 3.0f}) {
      std::vector<float> weights;
      for (int block = 0; block < 4; ++block) {
        const float step =
            dtype == DType::kInt4 ? scale * (15 - 3 * block) : scale;
        const int high = dtype == DType::kInt4 ? 7 : 127;
        for (int i = 0; i < kQuantBlock; ++i) {
          weights.push_back(step * (i % (high + 1)) * (i % 2 == 0 ? 1 : -1));
        }
        // A block's peak is what its range reaches furthest for.
        const float furthest = dtype == DType::kInt4 ? 8 : 127;
        weights[block * kQuantBlock] =
            step * furthest * (block % 2 == 0 ? 1 : -1);
      }
      double error = 1;
      Quantize(dtype, weights, &error);
      EXPECT_EQ(error, 0) << NameOf(dtype) << " " << scale;
    }
  }
}

TEST(QuantizeRowTest, Extremes) {
  for (DType dtype : kDTypes) {
    const auto error = [&](const std::vector<float>& weights) {
      double reported = 0;
      const QuantizedRow row = Quantize(dtype, weights, &reported);
      EXPECT_TRUE(std::isfinite(row.scale));
      return SquaredError(dtype, weights, row);
    };
    EXPECT_EQ(error(std::vector<float>(40, 0.0f)), 0);
    for (float tiny : {1e-12f, 1e-40f}) {
      EXPECT_LE(error(std::vector<float>(40, tiny)), 41.0 * tiny * tiny);
    }
    EXPECT_LE(error(std::vector<float>(40, -kMaxQuantWeight)),
              1e-6 * 40 * double{kMaxQuantWeight} * kMaxQuantWeight);
  }
}

TEST(QuantizeRowTest, LoneWeightAmongZeros_IsKept) {
  for (DType dtype : kDTypes) {
    for (float weight : {0.013f, -0.013f}) {
      std::vector<float> weights(100, 0.0f);
      weights[77] = weight;
      double error = 1;
      Quantize(dtype, weights, &error);
      EXPECT_LE(std::sqrt(error), 5e-4 * std::fabs(weight));
    }
  }
}

// One large block leaves the others few multipliers, not none.
TEST(QuantizeRowTest, SmallBlocksBesideALargeOne_KeepTheirNumbers) {
  auto weights = Row(256, 3, 0.02f);
  for (int i = 0; i < kQuantBlock; ++i) weights[i] *= 12;
  double error = 0;
  const QuantizedRow row = Quantize(DType::kInt4, weights, &error);
  double small = 0, size = 0;
  for (size_t i = kQuantBlock; i < weights.size(); ++i) {
    const CodeGrid grid = GridOf(DType::kInt4, row, i);
    const double w = row.scale * grid.multiplier * (row.codes[i] - grid.zero);
    small += (weights[i] - w) * (weights[i] - w);
    size += double{weights[i]} * weights[i];
  }
  EXPECT_LT(std::sqrt(small / size), 0.12);
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
  EXPECT_LT(int8, 0.0085);
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

TEST(QuantizePanelTest, PaddingIsZero) {
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
