// What a stored PLE row promises of the numbers that went in.

#include "storage/ple_row.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bf16.h"
#include "tests/support/noise.h"

namespace lapidary {
namespace {

using kernels::Bf16ToFloat;
using kernels::DType;
using kernels::FloatToBf16;
using kernels::NormalNoise;

constexpr int64_t kLayers = 5, kWidth = 64;

PleTableShape Shape(DType dtype) { return {100, kLayers, kWidth, dtype}; }

// Layers of very different sizes, the last of them zero.
std::vector<float> SomeRow() {
  std::vector<float> row(kLayers * kWidth);
  for (int64_t i = 0; i < kLayers * kWidth; ++i) {
    const int64_t layer = i / kWidth;
    row[i] = layer + 1 == kLayers
                 ? 0
                 : NormalNoise(i, 3) * std::pow(10.0f, 2.0f * layer - 4);
  }
  return row;
}

std::vector<float> Decode(const PleTableShape& shape,
                          kernels::text::LayerRange range, const char* stored) {
  std::vector<uint16_t> bits(range.count() * kWidth);
  DecodePleRow(shape, range, stored, bits.data());
  std::vector<float> values;
  for (uint16_t b : bits) values.push_back(Bf16ToFloat(b));
  return values;
}

TEST(PleRow, Int8_IsNearInEveryLayer_AndHalfTheBytes) {
  const PleTableShape shape = Shape(DType::kInt8);
  EXPECT_LT(shape.StoredRowBytes(), shape.RowBytes() * 0.54);
  const std::vector<float> row = SomeRow();
  std::vector<char> stored(shape.StoredRowBytes() + 1);
  char* odd = stored.data() + 1;  // RocksDB's values lie anywhere
  ASSERT_TRUE(EncodePleRow(shape, DType::kF32, row.data(), odd));
  const std::vector<float> values = Decode(shape, {0, kLayers}, odd);
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    double error = 0, size = 0;
    for (int64_t i = layer * kWidth; i < (layer + 1) * kWidth; ++i) {
      error += std::pow(double{values[i]} - row[i], 2);
      size += std::pow(double{row[i]}, 2);
    }
    EXPECT_LE(std::sqrt(error), 0.01 * std::sqrt(size)) << layer;
  }
}

TEST(PleRow, ARangeOfLayers_IsThatPartOfTheRow) {
  const PleTableShape shape = Shape(DType::kInt8);
  const std::vector<float> row = SomeRow();
  std::vector<char> stored(shape.StoredRowBytes());
  ASSERT_TRUE(EncodePleRow(shape, DType::kF32, row.data(), stored.data()));
  const std::vector<float> all = Decode(shape, {0, kLayers}, stored.data());
  const std::vector<float> part = Decode(shape, {1, 3}, stored.data());
  EXPECT_EQ(part,
            std::vector<float>(all.begin() + kWidth, all.begin() + 3 * kWidth));
}

TEST(PleRow, Bf16OfBf16_IsTheSameBits_AndOfF32_Rounded) {
  const PleTableShape shape = Shape(DType::kBf16);
  const std::vector<float> row = SomeRow();
  std::vector<uint16_t> bits;
  std::vector<float> rounded;
  for (float value : row) {
    bits.push_back(FloatToBf16(value));
    rounded.push_back(Bf16ToFloat(bits.back()));
  }
  std::vector<char> stored(shape.StoredRowBytes());
  ASSERT_TRUE(EncodePleRow(shape, DType::kBf16, bits.data(), stored.data()));
  EXPECT_EQ(Decode(shape, {0, kLayers}, stored.data()), rounded);
  ASSERT_TRUE(EncodePleRow(shape, DType::kF32, row.data(), stored.data()));
  EXPECT_EQ(Decode(shape, {0, kLayers}, stored.data()), rounded);
}

TEST(PleRow, WhatInt8CannotHold_IsSaid) {
  std::vector<char> stored(Shape(DType::kInt8).StoredRowBytes());
  for (float bad : {std::numeric_limits<float>::quiet_NaN(),
                    std::numeric_limits<float>::infinity()}) {
    std::vector<float> row = SomeRow();
    row[70] = bad;
    EXPECT_FALSE(EncodePleRow(Shape(DType::kInt8), DType::kF32, row.data(),
                              stored.data()));
    EXPECT_TRUE(EncodePleRow(Shape(DType::kF32), DType::kF32, row.data(),
                             std::vector<char>(4 * row.size()).data()));
  }
  // Numbers at both ends of f32.
  for (float end : {1e-44f, 3e38f}) {
    const std::vector<float> row(kLayers * kWidth, end);
    ASSERT_TRUE(EncodePleRow(Shape(DType::kInt8), DType::kF32, row.data(),
                             stored.data()));
    for (float value :
         Decode(Shape(DType::kInt8), {0, kLayers}, stored.data())) {
      EXPECT_NEAR(value, end, 0.01 * end + 1e-40) << end;
    }
  }
}

}  // namespace
}  // namespace lapidary
