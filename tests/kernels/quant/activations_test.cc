// Quantised activations, byte by byte, as their header draws them, in every
// instruction set that this CPU has.

#include "kernels/quant/activations.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/noise.h"
#include "tests/support/vector_targets.h"

namespace lapidary::kernels {
namespace {

class QuantRowsTest : public VectorTargets {};

INSTANTIATE_TEST_SUITE_P(Targets, QuantRowsTest, EachVectorTarget(),
                         VectorTargetName);

template <typename T>
T Read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// Kernels that only say how they would have activations lie.
constexpr ProductKernels kReaders[] = {
    {"quads", TileLayout::kQuads, nullptr, nullptr, nullptr},
    {"rows", TileLayout::kRows, nullptr, nullptr, nullptr}};

// Where a record has the code of a row's k, by the layout's drawing.
int64_t CodeAt(TileLayout layout, int64_t tile_rows, int64_t row, int64_t k) {
  return layout == TileLayout::kRows ? row * 128 + k
                                     : (k / 4 * tile_rows + row) * 4 + k % 4;
}

void ExpectAsDrawn(const ProductKernels& readers) {
  for (int64_t rows : {1, 3, 16, 17, 40}) {
    for (int64_t k : {1, 31, 32, 127, 128, 129, 300}) {
      std::vector<float> x(rows * k);
      for (size_t i = 0; i < x.size(); ++i) x[i] = 3 * NormalNoise(i, 9);
      QuantRows quantized;
      quantized.Quantize({x.data(), rows, k}, readers);
      EXPECT_EQ(quantized.rows(), rows);
      EXPECT_EQ(quantized.k(), k);
      int64_t next_row = 0;
      for (int64_t t = 0; t < quantized.tiles(); ++t) {
        const QuantRows::Tile tile = quantized.tile(t);
        ASSERT_EQ(tile.first_row, next_row);
        ASSERT_GE(tile.rows, 1);
        ASSERT_LE(tile.rows, kMaxTileRows);
        next_row += tile.rows;
        for (int64_t record = 0; record < (k + 127) / 128; ++record) {
          const std::byte* data = tile.data + record * tile.rows * 152;
          for (int64_t r = 0; r < tile.rows; ++r) {
            const auto at = [&](int64_t i) {
              const int64_t column = record * 128 + i;
              return column < k ? x[(tile.first_row + r) * k + column] : 0.0f;
            };
            float peak = 0;
            for (int64_t i = 0; i < 128; ++i) {
              peak = std::max(peak, std::fabs(at(i)));
            }
            int sums[4] = {};
            for (int64_t i = 0; i < 128; ++i) {
              const int code =
                  peak == 0
                      ? 0
                      : static_cast<int>(std::nearbyintf(at(i) * (127 / peak)));
              ASSERT_EQ(
                  Read<int8_t>(data + CodeAt(readers.layout, tile.rows, r, i)),
                  code)
                  << rows << "x" << k << " record " << record << " row " << r;
              sums[i / 32] += code;
            }
            ASSERT_EQ(Read<float>(data + tile.rows * 128 + r * 4), peak / 127);
            ASSERT_EQ(Read<int32_t>(data + tile.rows * 132 + r * 4),
                      -128 * (sums[0] + sums[1] + sums[2] + sums[3]));
            for (int64_t block = 0; block < 4; ++block) {
              ASSERT_EQ(
                  Read<int32_t>(data + tile.rows * (136 + 4 * block) + r * 4),
                  sums[block]);
            }
          }
        }
      }
      ASSERT_EQ(next_row, rows);
    }
  }
}

TEST_P(QuantRowsTest, CodesScalesAndSums_LieAsDrawn) {
  for (const ProductKernels& readers : kReaders) {
    SCOPED_TRACE(readers.name);
    ExpectAsDrawn(readers);
  }
}

TEST_P(QuantRowsTest, PiecesOfARow_GiveTheBytesOfTheWhole) {
  constexpr int64_t kRows = 21, kK = 700;
  std::vector<float> x(kRows * kK);
  for (size_t i = 0; i < x.size(); ++i) x[i] = NormalNoise(i, 9);
  for (const ProductKernels& readers : kReaders) {
    QuantRows whole;
    whole.Quantize({x.data(), kRows, kK}, readers);
    std::vector<std::byte> bytes(kRows * QuantActivationBytes(kK));
    const QuantTiles tiles(kRows, kK, bytes.data());
    for (int64_t column = 512; column >= 0; column -= 256) {
      for (int64_t row = 0; row < kRows; ++row) {
        tiles.Put(row, column, &x[row * kK + column],
                  std::min<int64_t>(256, kK - column), readers);
      }
    }
    EXPECT_EQ(std::memcmp(bytes.data(), whole.tile(0).data, bytes.size()), 0)
        << readers.name;
  }
}

TEST_P(QuantRowsTest, MemoryIsReused) {
  const std::vector<float> x(64 * 64, 1.0f);
  QuantRows rows;
  EXPECT_EQ(rows.bytes(), 0u);
  rows.Quantize({x.data(), 64, 64});
  const size_t bytes = rows.bytes();
  const std::byte* data = rows.tile(0).data;
  rows.Quantize({x.data(), 2, 64});
  rows.Quantize({x.data(), 64, 64});
  EXPECT_EQ(rows.bytes(), bytes);
  EXPECT_EQ(rows.tile(0).data, data);
}

}  // namespace
}  // namespace lapidary::kernels
