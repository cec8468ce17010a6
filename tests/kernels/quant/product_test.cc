// The integer product against plain loops that follow its definition
// (product_kernels.h), to the bit: by every instruction set of this CPU, at
// odd sizes, in any batch and with any number of threads.

#include "kernels/quant/product.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/parallel.h"
#include "kernels/quant/quant_layout.h"
#include "kernels/quant/quantize.h"
#include "tests/support/noise.h"
#include "tests/support/product_kernel_cases.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kSizesOfN[] = {1, 15, 16, 17, 40, 64};
constexpr int64_t kSizesOfK[] = {1, 31, 32, 33, 64, 96, 130, 2048};

// A packed matrix with what its codes stand for beside it.
struct Weights {
  std::vector<int> integers;  // [n][k up to whole records]
  std::vector<float> scales;  // [n]
  std::shared_ptr<AlignedBuffer> packed;
  QuantMatrix matrix;
  int64_t records = 0;

  Weights(DType dtype, int64_t n, int64_t k) {
    std::vector<float> values(n * k);
    for (size_t i = 0; i < values.size(); ++i) {
      // Blocks of different sizes.
      values[i] = (i / 32 % 3 + 1) * 0.02f * NormalNoise(i, 1);
    }
    packed = AlignedBuffer::Make(*QuantMatrixBytes(dtype, n, k));
    const size_t panel_bytes = *QuantPanelBytes(dtype, k);
    for (int64_t row = 0; row < n; row += kQuantPanelRows) {
      QuantizePanel(DType::kF32, &values[row * k],
                    std::min(kQuantPanelRows, n - row), k, dtype,
                    packed->data() + row / kQuantPanelRows * panel_bytes);
    }
    matrix = {dtype, n, k, packed->data()};
    records = (k + 127) / 128;
    for (int64_t row = 0; row < n; ++row) ReadRow(dtype == DType::kInt4, row);
  }

 private:
  // By the layout's drawing, not by its code.
  void ReadRow(bool int4, int64_t row) {
    const int64_t record_bytes = int4 ? 17 * 64 : 32 * 64;
    const auto* panel = reinterpret_cast<const uint8_t*>(packed->data()) +
                        row / 16 * (records * record_bytes + 64);
    const int64_t lane = row % 16;
    float scale;
    std::memcpy(&scale, panel + records * record_bytes + lane * 4, 4);
    scales.push_back(scale);
    for (int64_t k = 0; k < records * 128; ++k) {
      const uint8_t* record = panel + k / 128 * record_bytes;
      const int64_t in_record = k % 128;
      if (!int4) {
        integers.push_back(record[in_record / 4 * 64 + lane * 4 + k % 4] - 128);
        continue;
      }
      const int64_t block = in_record / 32, in_block = in_record % 32;
      const uint8_t byte =
          record[block * 256 + in_block / 4 % 4 * 64 + lane * 4 + k % 4];
      const int code = in_block < 16 ? byte & 15 : byte >> 4;
      const uint8_t grid = record[1024 + block * 16 + lane];
      integers.push_back((grid & 15) * (code - (grid < 128 ? 8 : 7)));
    }
  }
};

// One row of activations, quantised by the definition.
struct Activations {
  std::vector<int> codes;
  std::vector<float> scales;

  Activations(const float* x, int64_t k) {
    for (int64_t first = 0; first < k; first += 128) {
      const int64_t count = std::min<int64_t>(128, k - first);
      float peak = 0;
      for (int64_t i = 0; i < count; ++i) {
        peak = std::max(peak, std::fabs(x[first + i]));
      }
      const bool zero = peak < 1e-30f;
      scales.push_back(zero ? 0 : peak / 127.0f);
      const float inverse = zero ? 0 : 127.0f / peak;
      for (int64_t i = 0; i < 128; ++i) {
        codes.push_back(i < count ? static_cast<int>(
                                        std::nearbyintf(x[first + i] * inverse))
                                  : 0);
      }
    }
  }
};

std::vector<float> Product(const Weights& w, const float* x, int64_t rows) {
  const int64_t n = w.matrix.n, k = w.matrix.k;
  std::vector<float> out;
  for (int64_t r = 0; r < rows; ++r) {
    const Activations a(x + r * k, k);
    for (int64_t row = 0; row < n; ++row) {
      float sum = 0;
      for (int64_t record = 0; record < w.records; ++record) {
        int dot = 0;
        for (int64_t i = 0; i < 128; ++i) {
          dot += w.integers[(row * w.records + record) * 128 + i] *
                 a.codes[record * 128 + i];
        }
        sum = std::fma(static_cast<float>(dot), a.scales[record], sum);
      }
      out.push_back(sum * w.scales[row]);
    }
  }
  return out;
}

// What the kernels make of it; checks that they write nothing else.
std::vector<float> Multiply(const QuantMatrix& w, const float* x,
                            int64_t rows) {
  constexpr int64_t kGuard = 64;
  const std::vector<float> inputs(x, x + rows * w.k);
  QuantRows quantized;
  quantized.Quantize({inputs.data(), rows, w.k});
  std::vector<float> out(rows * w.n + kGuard, -7.0f);
  QuantMatMul(w, quantized, {out.data(), rows, w.n});
  for (int64_t i = 0; i < kGuard; ++i) {
    EXPECT_EQ(out[rows * w.n + i], -7.0f) << "written past the end";
  }
  out.resize(rows * w.n);
  return out;
}

std::vector<float> Inputs(int64_t rows, int64_t k) {
  std::vector<float> x(rows * k);
  for (size_t i = 0; i < x.size(); ++i) x[i] = NormalNoise(i, 2);
  return x;
}

// The hostile matrix: every byte the worst for its format, scales of 1.
struct Extreme {
  std::vector<uint8_t> bytes;
  QuantMatrix matrix;

  Extreme(DType dtype, uint8_t code_byte, uint8_t grid)
      : bytes(*QuantMatrixBytes(dtype, 16, 128), code_byte) {
    const float one = 1;
    uint8_t* end = bytes.data() + bytes.size();
    for (int64_t i = 1; i <= 16; ++i) std::memcpy(end - i * 4, &one, 4);
    if (dtype == DType::kInt4) {
      std::fill(&bytes[1024], &bytes[1024] + 64, grid);
    }
    matrix = {dtype, 16, 128, bytes.data()};
  }
};

class ProductTest : public ProductKernelCases {};

INSTANTIATE_TEST_SUITE_P(Kernels, ProductTest, EachProductKernels(),
                         ProductKernelsName);

TEST_P(ProductTest, EqualsTheDefinition_AtEveryShape) {
  EXPECT_STREQ(ProductKernelsInUse().name, GetParam()->name);
  for (DType dtype : {DType::kInt8, DType::kInt4}) {
    for (int64_t n : kSizesOfN) {
      for (int64_t k : kSizesOfK) {
        const Weights w(dtype, n, k);
        for (int64_t rows : {1, 2, 5, 16, 17}) {
          const auto x = Inputs(rows, k);
          ASSERT_EQ(Multiply(w.matrix, x.data(), rows),
                    Product(w, x.data(), rows))
              << NameOf(dtype) << " " << rows << " of " << n << "x" << k;
        }
      }
    }
  }
}

TEST_P(ProductTest, RowInAnyBatch_EqualsTheRowAlone) {
  constexpr int64_t kN = 40, kK = 352;
  for (DType dtype : {DType::kInt8, DType::kInt4}) {
    const Weights w(dtype, kN, kK);
    const auto x = Inputs(200, kK);
    std::vector<float> alone;
    for (int64_t r = 0; r < 200; ++r) {
      const auto row = Multiply(w.matrix, &x[r * kK], 1);
      alone.insert(alone.end(), row.begin(), row.end());
    }
    for (int64_t rows = 1; rows <= 40; ++rows) {
      const auto batch = Multiply(w.matrix, x.data(), rows);
      ASSERT_TRUE(std::equal(batch.begin(), batch.end(), alone.begin()))
          << NameOf(dtype) << " " << rows;
    }
    ASSERT_EQ(Multiply(w.matrix, x.data(), 200), alone);
  }
}

// A prompt's: tiles of two sizes, more records than stay in a cache for all of
// them, an odd number of those, and panels that do not come out even.
TEST_P(ProductTest, RowsOfAPrompt_EqualTheRowsAlone) {
  constexpr int64_t kN = 213, kK = 2112, kRows = 300;
  for (DType dtype : {DType::kInt8, DType::kInt4}) {
    const Weights w(dtype, kN, kK);
    const auto x = Inputs(kRows, kK);
    const auto all = Multiply(w.matrix, x.data(), kRows);
    for (int64_t r = 0; r < kRows; ++r) {
      const auto row = Multiply(w.matrix, &x[r * kK], 1);
      ASSERT_TRUE(std::equal(row.begin(), row.end(), &all[r * kN]))
          << NameOf(dtype) << " " << r;
    }
  }
}

TEST_P(ProductTest, AnyNumberOfThreads_GivesTheSame) {
  // Large enough to be worth a team even for one row.
  constexpr int64_t kN = 1003, kK = 192;
  for (DType dtype : {DType::kInt8, DType::kInt4}) {
    const Weights w(dtype, kN, kK);
    const auto x = Inputs(33, kK);
    SetComputeThreads(1);
    const auto one = Multiply(w.matrix, x.data(), 33);
    for (int threads : {2, 3, 7}) {
      SetComputeThreads(threads);
      ASSERT_EQ(Multiply(w.matrix, x.data(), 33), one) << threads;
    }
  }
}

TEST_P(ProductTest, IsCloseToTheProductOfTheNumbers) {
  constexpr int64_t kN = 64, kK = 2048;
  for (DType dtype : {DType::kInt8, DType::kInt4}) {
    const Weights w(dtype, kN, kK);
    const auto x = Inputs(3, kK);
    const auto got = Multiply(w.matrix, x.data(), 3);
    double error = 0, size = 0;
    std::vector<float> row(kK);
    for (int64_t r = 0; r < 3; ++r) {
      for (int64_t n = 0; n < kN; ++n) {
        DequantizeRow(dtype, w.matrix.data, n, kK, row.data());
        double sum = 0;
        for (int64_t i = 0; i < kK; ++i) sum += double{row[i]} * x[r * kK + i];
        error += std::pow(got[r * kN + n] - sum, 2);
        size += sum * sum;
      }
    }
    EXPECT_LT(std::sqrt(error / size), 0.008) << NameOf(dtype);
  }
}

TEST_P(ProductTest, ExtremeCodes_DoNotSaturate) {
  for (float sign : {1.0f, -1.0f}) {
    const std::vector<float> x(128, 127 * sign);
    const float sum = 128 * 127 * sign;
    for (int64_t rows : {1, 5}) {
      std::vector<float> all;
      for (int64_t r = 0; r < rows; ++r) {
        all.insert(all.end(), x.begin(), x.end());
      }
      const auto expect = [&](const Extreme& w, float weight) {
        EXPECT_EQ(Multiply(w.matrix, all.data(), rows),
                  std::vector<float>(rows * 16, sum * weight))
            << weight << " " << rows;
      };
      expect(Extreme(DType::kInt8, 0x00, 0), -128);
      expect(Extreme(DType::kInt8, 0xFF, 0), 127);
      expect(Extreme(DType::kInt4, 0x00, 0x0F), -8 * 15);
      expect(Extreme(DType::kInt4, 0xFF, 0x0F), 7 * 15);
      expect(Extreme(DType::kInt4, 0x00, 0x8F), -7 * 15);
      expect(Extreme(DType::kInt4, 0xFF, 0x8F), 8 * 15);
      expect(Extreme(DType::kInt4, 0xFF, 0x80), 0);
      // Bits that mean nothing change nothing.
      expect(Extreme(DType::kInt4, 0xFF, 0x7F), 7 * 15);
    }
  }
}

TEST_P(ProductTest, NotANumberAndInfinity_ShowInTheirRowAlone) {
  const Weights w(DType::kInt4, 17, 70);
  const auto clean = Inputs(3, 70);
  const auto expected = Product(w, clean.data(), 3);
  for (float bad : {std::numeric_limits<float>::quiet_NaN(),
                    -std::numeric_limits<float>::infinity()}) {
    auto x = clean;
    x[70 + 40] = bad;
    const auto got = Multiply(w.matrix, x.data(), 3);
    for (int64_t n = 0; n < 17; ++n) {
      EXPECT_EQ(got[n], expected[n]);
      EXPECT_TRUE(std::isnan(got[17 + n]));
      EXPECT_EQ(got[34 + n], expected[34 + n]);
    }
  }
}

TEST_P(ProductTest, BlocksOfTinyNumbers_AreZeros) {
  const Weights w(DType::kInt8, 16, 64);
  for (float tiny : {0.0f, 1e-31f, 1e-44f}) {
    const std::vector<float> x(64, tiny);
    EXPECT_EQ(Multiply(w.matrix, x.data(), 1), std::vector<float>(16, 0.0f));
  }
  const std::vector<float> small(64, 1e-29f);
  EXPECT_NE(Multiply(w.matrix, small.data(), 1), std::vector<float>(16, 0.0f));
}

TEST_P(ProductTest, NoRows_IsNoWork) {
  const Weights w(DType::kInt4, 7, 16);
  EXPECT_TRUE(Multiply(w.matrix, nullptr, 0).empty());
}

}  // namespace
}  // namespace lapidary::kernels
