// The block-quantised layout, byte by byte, as its header draws it.

#include "kernels/quant/quant_layout.h"

#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/half.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

TEST(QuantLayoutTest, SizesAreThoseOfTheHeader) {
  EXPECT_EQ(QuantRecordBytes(DType::kInt8), 17 * 64);
  EXPECT_EQ(QuantRecordBytes(DType::kInt4), 9 * 64);
  EXPECT_EQ(QuantMatrixBytes(DType::kInt4, 1, 1), 9u * 64);
  EXPECT_EQ(QuantMatrixBytes(DType::kInt8, 16, 64), 17u * 64);
  EXPECT_EQ(QuantMatrixBytes(DType::kInt8, 17, 65), 4 * 17u * 64);
  EXPECT_EQ(QuantPanelBytes(DType::kInt4, 2048), 32u * 9 * 64);
  // E2B's tied head: 4.5 bits a weight.
  EXPECT_EQ(QuantMatrixBytes(DType::kInt4, 262400, 2048),
            size_t{262400} * 2048 * 9 / 16);
}

TEST(QuantLayoutTest, SizesThatNoMemoryHolds_AreNone) {
  for (DType dtype : {DType::kInt8, DType::kInt4}) {
    EXPECT_FALSE(QuantMatrixBytes(dtype, kHuge, kHuge).has_value());
    EXPECT_FALSE(QuantMatrixBytes(dtype, kHuge, 1).has_value());
    EXPECT_FALSE(QuantMatrixBytes(dtype, 1, kHuge).has_value());
    EXPECT_FALSE(QuantMatrixBytes(dtype, int64_t{1} << 40, int64_t{1} << 30)
                     .has_value());
    for (int64_t bad : {int64_t{0}, int64_t{-1}, -kHuge}) {
      EXPECT_FALSE(QuantMatrixBytes(dtype, bad, 64).has_value());
      EXPECT_FALSE(QuantMatrixBytes(dtype, 64, bad).has_value());
      EXPECT_FALSE(QuantPanelBytes(dtype, bad).has_value());
    }
  }
}

// A panel of two records, each block of which has its own codes and scale.
struct Panel {
  explicit Panel(DType dtype) : bytes(*QuantPanelBytes(dtype, 128), 0xFF) {
    for (int64_t row = 0; row < 16; ++row) {
      for (int64_t block = 0; block < 4; ++block) {
        int8_t codes[32];
        for (int64_t i = 0; i < 32; ++i) {
          codes[i] = Code(dtype, row, block * 32 + i);
        }
        StoreQuantBlock(dtype, bytes.data(), row, block, codes,
                        FloatToHalf(Scale(row, block)));
      }
    }
  }
  static int8_t Code(DType dtype, int64_t row, int64_t k) {
    const int64_t mixed = row * 41 + k * 7 + k / 32;
    return dtype == DType::kInt4 ? mixed % 16 - 8 : mixed % 255 - 127;
  }
  static float Scale(int64_t row, int64_t block) {
    return (block % 2 == 0 ? 1.0f : -1.0f) * (1 + row * 0.25f + block * 8);
  }

  std::vector<uint8_t> bytes;
};

TEST(QuantLayoutTest, Int8_IsQuadsOfRows_ThenScales) {
  const Panel panel(DType::kInt8);
  for (int64_t row = 0; row < 16; ++row) {
    for (int64_t k = 0; k < 128; ++k) {
      const int64_t at = k / 64 * 17 * 64 + k % 64 / 4 * 64 + row * 4 + k % 4;
      ASSERT_EQ(panel.bytes[at], Panel::Code(DType::kInt8, row, k) + 128);
    }
    for (int64_t block = 0; block < 4; ++block) {
      const int64_t at =
          block / 2 * 17 * 64 + 1024 + (block % 2 * 16 + row) * 2;
      uint16_t scale;
      std::memcpy(&scale, &panel.bytes[at], 2);
      ASSERT_EQ(HalfToFloat(scale), Panel::Scale(row, block));
    }
  }
}

TEST(QuantLayoutTest, Int4_IsPairsOfQuads_ThenScales) {
  const Panel panel(DType::kInt4);
  for (int64_t row = 0; row < 16; ++row) {
    for (int64_t k = 0; k < 128; ++k) {
      const int64_t quad = k % 32 / 4;
      const int64_t at =
          k / 64 * 9 * 64 + k % 64 / 32 * 256 + quad % 4 * 64 + row * 4 + k % 4;
      const int code = quad < 4 ? panel.bytes[at] & 15 : panel.bytes[at] >> 4;
      ASSERT_EQ(code, Panel::Code(DType::kInt4, row, k) + 8);
    }
    for (int64_t block = 0; block < 4; ++block) {
      const int64_t at = block / 2 * 9 * 64 + 512 + (block % 2 * 16 + row) * 2;
      uint16_t scale;
      std::memcpy(&scale, &panel.bytes[at], 2);
      ASSERT_EQ(HalfToFloat(scale), Panel::Scale(row, block));
    }
  }
}

TEST(QuantLayoutTest, DequantizeRow_GivesEveryRowBack) {
  for (DType dtype : {DType::kInt8, DType::kInt4}) {
    const Panel one(dtype);
    std::vector<uint8_t> matrix = one.bytes;
    matrix.insert(matrix.end(), one.bytes.begin(), one.bytes.end());
    for (int64_t k : {65, 96, 97, 128}) {
      for (int64_t n = 0; n < 32; ++n) {
        std::vector<float> row(k);
        DequantizeRow(dtype, matrix.data(), n, k, row.data());
        for (int64_t i = 0; i < k; ++i) {
          ASSERT_EQ(row[i], Panel::Scale(n % 16, i / 32) *
                                Panel::Code(dtype, n % 16, i));
        }
      }
    }
  }
}

}  // namespace
}  // namespace lapidary::kernels
