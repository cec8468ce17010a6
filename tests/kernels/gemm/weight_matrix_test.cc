// MatMul against a plain loop in f64. tests/kernels/gemm/BUILD runs this file
// for several instruction sets; DNNL_MAX_CPU_ISA says which.

#include "kernels/gemm/weight_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bf16.h"
#include "kernels/gemm/amx_product.h"
#include "kernels/gemm/matmul_primitives.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/gemm/weight_layout.h"
#include "tests/support/noise.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kRows[] = {1,  2,  3,  5,   8,   9,   17, 48,
                             49, 64, 65, 130, 512, 513, 700};
constexpr int64_t kSizes[] = {1, 7, 16, 50, 64, 70, 130};

// Sums of up to kSizes terms in f32, in any order.
constexpr double kTolerance = 2e-6;

// A weight matrix with its numbers beside it.
struct Weights {
  std::vector<float> values;  // [n][k], as the matrix holds them
  std::shared_ptr<AlignedBuffer> panels;
  WeightMatrix matrix;

  Weights(DType dtype, int64_t n, int64_t k) : values(n * k) {
    for (int64_t i = 0; i < n * k; ++i) {
      values[i] = Noise(i, 1);
      if (dtype == DType::kBf16)
        values[i] = Bf16ToFloat(FloatToBf16(values[i]));
    }
    panels = AlignedBuffer::Make(PanelMatrixBytes(dtype, n, k));
    for (int64_t row = 0; row < n; row += kPanelRows) {
      PackPanel(DType::kF32, &values[row * k], std::min(kPanelRows, n - row), k,
                dtype,
                panels->data() + row / kPanelRows * PanelBytes(dtype, k));
    }
    matrix = *WeightMatrix::Wrap(dtype, n, k, panels->data());
  }
};

// Inputs as the matrix sees them: MatMul rounds them for bf16 weights.
float Rounded(const WeightMatrix& w, float x) {
  return w.dtype() == DType::kBf16 && w.plain() == nullptr
             ? Bf16ToFloat(FloatToBf16(x))
             : x;
}

std::vector<float> Inputs(int64_t rows, int64_t k) {
  // The rows that are computed and thrown away hold NaN.
  std::vector<float> x(GemmCapacity(rows) * k,
                       std::numeric_limits<float>::quiet_NaN());
  for (int64_t i = 0; i < rows * k; ++i) x[i] = Noise(i, 2);
  return x;
}

std::vector<float> Multiply(const WeightMatrix& w, const float* x, int64_t rows,
                            GemmContext* context) {
  constexpr int64_t kGuard = 256;
  const int64_t capacity = GemmCapacity(rows) * w.n();
  std::vector<float> inputs(GemmCapacity(rows) * w.k());
  std::copy(x, x + rows * w.k(), inputs.begin());
  std::vector<float> y(capacity + kGuard, -7.0f);
  MatMul(w, {inputs.data(), rows, w.k()}, {y.data(), rows, w.n()}, context);
  for (int64_t i = 0; i < kGuard; ++i) {
    EXPECT_EQ(y[capacity + i], -7.0f) << "written past the capacity";
  }
  y.resize(rows * w.n());
  return y;
}

class WeightMatrixTest : public testing::TestWithParam<DType> {
 protected:
  // Row r's Σ|w x|, in which the errors are measured, and its outputs.
  static void ExpectProduct(const Weights& w, const std::vector<float>& x,
                            const std::vector<float>& y, int64_t rows) {
    const int64_t n = w.matrix.n(), k = w.matrix.k();
    std::vector<double> row(k);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < k; ++i) row[i] = Rounded(w.matrix, x[r * k + i]);
      for (int64_t out = 0; out < n; ++out) {
        double sum = 0, size = 0;
        for (int64_t i = 0; i < k; ++i) {
          const double product = w.values[out * k + i] * row[i];
          sum += product;
          size += std::abs(product);
        }
        ASSERT_NEAR(y[r * n + out], sum, kTolerance * size)
            << rows << " rows of " << n << "x" << k << " at " << r << ", "
            << out;
      }
    }
  }

  GemmContext context_;
};

INSTANTIATE_TEST_SUITE_P(DTypes, WeightMatrixTest,
                         testing::Values(DType::kF32, DType::kBf16),
                         [](const auto& info) {
                           return std::string(NameOf(info.param));
                         });

TEST_P(WeightMatrixTest, EqualsAPlainLoop_AtEveryShape) {
  for (int64_t n : kSizes) {
    for (int64_t k : kSizes) {
      const Weights w(GetParam(), n, k);
      for (int64_t rows : kRows) {
        auto x = Inputs(rows, k);
        std::vector<float> y(GemmCapacity(rows) * n);
        MatMul(w.matrix, {x.data(), rows, k}, {y.data(), rows, n}, &context_);
        ExpectProduct(w, x, y, rows);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(WeightMatrixTest, EqualsAPlainLoop_AtALongRow) {
  const Weights w(GetParam(), 200, 2048);
  for (int64_t rows : {1, 3, 16, 40}) {
    const auto x = Inputs(rows, 2048);
    ExpectProduct(w, x, Multiply(w.matrix, x.data(), rows, &context_), rows);
  }
}

TEST_P(WeightMatrixTest, OutputsBeyondTheCapacity_AreNotTouched) {
  for (int64_t n : {int64_t{1}, int64_t{50}, int64_t{70}}) {
    const Weights w(GetParam(), n, 33);
    for (int64_t rows : kRows) {
      Multiply(w.matrix, Inputs(rows, 33).data(), rows, &context_);
    }
  }
}

// A row is the same in company as alone, to the last few bits. Whether to the
// very last is oneDNN's choice of blocks, and recorded for each batch size.
TEST_P(WeightMatrixTest, RowInABatch_EqualsTheRowAlone) {
  constexpr int64_t kN = 130, kK = 1030;
  const Weights w(GetParam(), kN, kK);
  const auto x = Inputs(700, kK);
  std::vector<std::vector<float>> alone;
  for (int64_t r = 0; r < 700; ++r) {
    alone.push_back(Multiply(w.matrix, &x[r * kK], 1, &context_));
  }
  std::string bit_equal, differ;
  for (int64_t rows : kRows) {
    const auto y = Multiply(w.matrix, x.data(), rows, &context_);
    bool same = true;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t out = 0; out < kN; ++out) {
        const float a = alone[r][out], b = y[r * kN + out];
        same = same && a == b;
        // Σ|w x| is near kK / 4.
        ASSERT_NEAR(a, b, kTolerance * kK / 4) << rows << ": " << r;
      }
    }
    (same ? bit_equal : differ) += " " + std::to_string(rows);
  }
  std::printf("%s: bit-equal to one row at M =%s; not at M =%s\n",
              NameOf(GetParam()), bit_equal.c_str(), differ.c_str());
  RecordProperty("bit_equal_rows", bit_equal);
}

TEST_P(WeightMatrixTest, RowOfABatch_DoesNotDependOnItsNeighbours) {
  constexpr int64_t kN = 70, kK = 130;
  const Weights w(GetParam(), kN, kK);
  for (int64_t rows : {2, 5, 17, 64, 130}) {
    auto x = Inputs(rows, kK);
    const auto before = Multiply(w.matrix, x.data(), rows, &context_);
    for (int64_t i = kK; i < rows * kK; ++i) x[i] = 1e5f * Noise(i, 3);
    const auto after = Multiply(w.matrix, x.data(), rows, &context_);
    ASSERT_TRUE(std::equal(before.begin(), before.begin() + kN, after.begin()))
        << rows;
  }
}

TEST_P(WeightMatrixTest, SameProductTwice_IsTheSameToTheBit) {
  const Weights w(GetParam(), 130, 1030);
  const auto x = Inputs(65, 1030);
  GemmContext other;
  const auto first = Multiply(w.matrix, x.data(), 65, &context_);
  EXPECT_EQ(Multiply(w.matrix, x.data(), 65, &context_), first);
  EXPECT_EQ(Multiply(w.matrix, x.data(), 65, &other), first);
}

TEST_P(WeightMatrixTest, OneContext_ServesMatricesOfEveryShapeInTurn) {
  const Weights small(GetParam(), 7, 16), big(GetParam(), 130, 130);
  const Weights other(GetParam() == DType::kF32 ? DType::kBf16 : DType::kF32,
                      130, 130);
  for (int turn = 0; turn < 3; ++turn) {
    for (const Weights* w : {&small, &big, &other}) {
      const int64_t rows = 3 + 20 * turn;
      const auto x = Inputs(rows, w->matrix.k());
      ExpectProduct(*w, x, Multiply(w->matrix, x.data(), rows, &context_),
                    rows);
    }
  }
}

TEST_P(WeightMatrixTest, NoRows_IsNoWork) {
  const Weights w(GetParam(), 7, 16);
  MatMul(w.matrix, {nullptr, 0, 16}, {nullptr, 0, 7}, &context_);
  EXPECT_EQ(GemmCapacity(0), 0);
}

TEST(AmxAllowedTest, IsNotWhereOneDnnIsKeptToLess) {
  const bool limited = std::getenv("DNNL_MAX_CPU_ISA") != nullptr;
  EXPECT_EQ(AmxAllowed(), AmxProductUsable() && !limited);
}

TEST_P(WeightMatrixTest, Wrap_CopiesOnlyWhereTheInstructionsLack) {
  const Weights w(GetParam(), 70, 50);
  EXPECT_FALSE(w.matrix.empty());
  EXPECT_EQ(w.matrix.dtype(), GetParam());
  EXPECT_EQ(w.matrix.n(), 70);
  EXPECT_EQ(w.matrix.k(), 50);
  EXPECT_EQ(w.matrix.data(), w.panels->data());
  EXPECT_TRUE(WeightMatrix().empty());
  const char* limit = std::getenv("DNNL_MAX_CPU_ISA");
  if (limit != nullptr &&
      (std::strcmp(limit, "AVX2") == 0 || GetParam() == DType::kBf16)) {
    ASSERT_NE(w.matrix.plain(), nullptr);
  }
  if (w.matrix.plain() == nullptr) {
    EXPECT_EQ(w.matrix.bytes(), PanelMatrixBytes(GetParam(), 70, 50));
    return;
  }
  EXPECT_EQ(w.matrix.bytes(), 70u * 50 * sizeof(float));
  for (int64_t out = 0; out < 70; ++out) {
    for (int64_t i = 0; i < 50; ++i) {
      ASSERT_EQ(w.matrix.plain()[i * 70 + out], w.values[out * 50 + i]);
    }
  }
}

// Matrices of all dtypes with the same inputs.
TEST(MatMulAllTest, EqualsEachAlone) {
  constexpr int64_t kK = 100;
  const std::vector<float> values = Inputs(70, kK);
  std::vector<std::shared_ptr<AlignedBuffer>> packed;
  std::vector<WeightMatrix> matrices;
  for (DType dtype :
       {DType::kInt4, DType::kF32, DType::kInt8, DType::kBf16, DType::kInt4}) {
    const int64_t n = 20 + 10 * matrices.size();
    const int64_t step = WeightPanelRows(dtype);
    packed.push_back(AlignedBuffer::Make(*WeightMatrixBytes(dtype, n, kK)));
    for (int64_t row = 0; row < n; row += step) {
      PackWeightPanel(
          DType::kF32, &values[row * kK], std::min(step, n - row), kK, dtype,
          packed.back()->data() + row / step * *WeightPanelBytes(dtype, kK));
    }
    matrices.push_back(
        *WeightMatrix::Wrap(dtype, n, kK, packed[packed.size() - 1]->data()));
  }
  GemmContext context;
  for (int64_t rows : {1, 5, 33}) {
    const auto x = Inputs(rows, kK);
    std::vector<std::vector<float>> outputs;
    std::vector<Product> products;
    for (const WeightMatrix& w : matrices) {
      outputs.emplace_back(GemmCapacity(rows) * w.n());
      products.push_back({&w, {outputs.back().data(), rows, w.n()}});
    }
    MatMulAll({x.data(), rows, kK}, products, &context);
    for (size_t i = 0; i < matrices.size(); ++i) {
      outputs[i].resize(rows * matrices[i].n());
      EXPECT_EQ(outputs[i], Multiply(matrices[i], x.data(), rows, &context))
          << i;
    }
  }
}

TEST(WeightLayoutTest, SizesOfHostileFiles_AreNone) {
  for (DType dtype : {DType::kF32, DType::kBf16, DType::kInt8, DType::kInt4}) {
    EXPECT_TRUE(IsWeightDType(dtype));
    EXPECT_TRUE(WeightMatrixBytes(dtype, int64_t{1} << 30, 1).has_value());
    for (int64_t bad : {int64_t{0}, int64_t{-5}, (int64_t{1} << 30) + 1,
                        std::numeric_limits<int64_t>::max()}) {
      EXPECT_FALSE(WeightMatrixBytes(dtype, bad, 64).has_value());
      EXPECT_FALSE(WeightMatrixBytes(dtype, 64, bad).has_value());
      EXPECT_FALSE(WeightPanelBytes(dtype, bad).has_value());
    }
  }
  EXPECT_FALSE(IsWeightDType(DType::kI32));
}

TEST(GemmRowClassTest, HoldsTheRows_AndThereAreFew) {
  std::set<int64_t> classes;
  for (int64_t rows = 1; rows <= kMaxGemmRows; ++rows) {
    const int64_t row_class = GemmRowClass(rows);
    classes.insert(row_class);
    EXPECT_GE(row_class, rows);
    EXPECT_LE(row_class, kMaxGemmRows);
    EXPECT_LE(row_class, std::max<int64_t>(2 * rows, rows + 63));
    EXPECT_EQ(GemmRowClass(row_class), row_class);
  }
  EXPECT_LE(classes.size(), 15u);
}

TEST(GemmCapacityTest, IsWholeSlices_AndTheClassOfTheRest) {
  EXPECT_EQ(GemmCapacity(1), 1);
  EXPECT_EQ(GemmCapacity(3), 4);
  EXPECT_EQ(GemmCapacity(512), 512);
  EXPECT_EQ(GemmCapacity(513), 513);
  EXPECT_EQ(GemmCapacity(700), 512 + 192);
  EXPECT_EQ(GemmCapacity(1024), 1024);
  for (int64_t rows = 1; rows < 2000; ++rows) {
    ASSERT_GE(GemmCapacity(rows), rows);
    ASSERT_GE(GemmCapacity(rows), GemmCapacity(rows - 1)) << rows;
  }
}

TEST(GemmSelfTestTest, Passes) { EXPECT_TRUE(GemmSelfTest()); }

}  // namespace
}  // namespace lapidary::kernels
