// The quantised layout, byte by byte, as its header draws it.

#include "kernels/quant/quant_layout.h"

#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

TEST(QuantLayoutTest, SizesAreThoseOfTheHeader) {
  EXPECT_EQ(QuantRecordBytes(DType::kInt8), 32 * 64);
  EXPECT_EQ(QuantRecordBytes(DType::kInt4), 17 * 64);
  EXPECT_EQ(QuantMatrixBytes(DType::kInt4, 1, 1), 18u * 64);
  EXPECT_EQ(QuantMatrixBytes(DType::kInt8, 16, 128), 33u * 64);
  EXPECT_EQ(QuantMatrixBytes(DType::kInt8, 17, 129), 2 * 65u * 64);
  EXPECT_EQ(QuantPanelBytes(DType::kInt4, 2048), (16u * 17 + 1) * 64);
  // E2B's tied head: 4.27 bits a weight.
  EXPECT_EQ(QuantMatrixBytes(DType::kInt4, 262400, 2048),
            size_t{262400} / 16 * 273 * 64);
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

// A panel of two records, each row and block of which has its own numbers.
struct Panel {
  explicit Panel(DType dtype) : bytes(*QuantPanelBytes(dtype, 256), 0xFF) {
    for (int64_t lane = 0; lane < 16; ++lane) {
      QuantizedRow row(256);
      row.scale = Scale(lane);
      for (int64_t i = 0; i < 256; ++i) row.codes[i] = Code(dtype, lane, i);
      for (int64_t b = 0; b < 8; ++b) row.grids[b] = PackGrid(Grid(lane, b));
      StoreQuantRow(dtype, bytes.data(), lane, row);
    }
  }
  static uint8_t Code(DType dtype, int64_t lane, int64_t k) {
    const int64_t mixed = lane * 41 + k * 7 + k / 32;
    return mixed % (dtype == DType::kInt4 ? 16 : 256);
  }
  static CodeGrid Grid(int64_t lane, int64_t block) {
    return {static_cast<int>((lane * 3 + block) % 16),
            static_cast<int>(7 + (lane + block) % 2)};
  }
  static float Scale(int64_t lane) { return 0.25f * (lane + 1); }

  // The scales lie behind `records` bytes.
  void ExpectScalesBehind(int64_t records) const {
    for (int64_t lane = 0; lane < 16; ++lane) {
      float scale;
      std::memcpy(&scale, &bytes[records + lane * 4], 4);
      ASSERT_EQ(scale, Scale(lane));
    }
  }

  std::vector<uint8_t> bytes;
};

TEST(QuantLayoutTest, Int8_IsQuadsOfRows_ThenScales) {
  const Panel panel(DType::kInt8);
  for (int64_t lane = 0; lane < 16; ++lane) {
    for (int64_t k = 0; k < 256; ++k) {
      ASSERT_EQ(panel.bytes[k / 4 * 64 + lane * 4 + k % 4],
                Panel::Code(DType::kInt8, lane, k));
    }
  }
  panel.ExpectScalesBehind(2 * 2048);
}

TEST(QuantLayoutTest, Int4_IsPairsOfQuads_ThenGrids_ThenScales) {
  const Panel panel(DType::kInt4);
  for (int64_t lane = 0; lane < 16; ++lane) {
    for (int64_t k = 0; k < 256; ++k) {
      const int64_t quad = k % 32 / 4;
      const int64_t at = k / 128 * 17 * 64 + k % 128 / 32 * 256 +
                         quad % 4 * 64 + lane * 4 + k % 4;
      const int code = quad < 4 ? panel.bytes[at] & 15 : panel.bytes[at] >> 4;
      ASSERT_EQ(code, Panel::Code(DType::kInt4, lane, k));
    }
    for (int64_t block = 0; block < 8; ++block) {
      const int64_t at = block / 4 * 17 * 64 + 1024 + block % 4 * 16 + lane;
      const CodeGrid grid = Panel::Grid(lane, block);
      ASSERT_EQ(panel.bytes[at] & 15, grid.multiplier);
      ASSERT_EQ(panel.bytes[at] >> 4, grid.zero == 8 ? 0 : 8);
    }
  }
  panel.ExpectScalesBehind(2 * 17 * 64);
}

TEST(QuantLayoutTest, DequantizeRow_GivesEveryRowBack) {
  for (DType dtype : {DType::kInt8, DType::kInt4}) {
    const Panel one(dtype);
    std::vector<uint8_t> matrix = one.bytes;
    matrix.insert(matrix.end(), one.bytes.begin(), one.bytes.end());
    for (int64_t k : {129, 160, 161, 256}) {
      for (int64_t n = 0; n < 32; ++n) {
        const int64_t lane = n % 16;
        std::vector<float> row(k);
        DequantizeRow(dtype, matrix.data(), n, k, row.data());
        for (int64_t i = 0; i < k; ++i) {
          const CodeGrid grid = dtype == DType::kInt4
                                    ? Panel::Grid(lane, i / 32)
                                    : CodeGrid{1, 128};
          ASSERT_EQ(row[i], Panel::Scale(lane) * grid.multiplier *
                                (Panel::Code(dtype, lane, i) - grid.zero));
        }
      }
    }
  }
}

}  // namespace
}  // namespace lapidary::kernels
