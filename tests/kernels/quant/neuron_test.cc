// The sparse layer's products against the dense ones, to the bit: by every
// instruction set of this CPU, at odd sizes, for any active neurons, in any
// batch and with any number of threads.

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/parallel.h"
#include "kernels/quant/active_neurons.h"
#include "kernels/quant/neuron_layout.h"
#include "kernels/quant/neuron_product.h"
#include "kernels/quant/neuron_sum.h"
#include "kernels/quant/product.h"
#include "kernels/quant/quantize.h"
#include "kernels/simd/row_ops.h"
#include "tests/support/noise.h"
#include "tests/support/product_kernel_cases.h"
#include "tests/support/vector_targets.h"

namespace lapidary::kernels {
namespace {

constexpr DType kDTypes[] = {DType::kInt8, DType::kInt4};
constexpr int64_t kWidths[] = {1, 32, 33, 64, 70, 130, 200, 832, 2048};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> Weights(int64_t count) {
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = 0.05f * NormalNoise(i, 1);
  return values;
}

// A matrix by neuron, from [neurons][width].
struct Neurons {
  std::shared_ptr<AlignedBuffer> buffer;
  NeuronMatrix matrix;
  QuantError error;

  Neurons(DType dtype, int64_t neurons, int64_t width) {
    const auto rows = Weights(neurons * width);
    buffer = AlignedBuffer::Make(*NeuronMatrixBytes(dtype, neurons, width));
    std::fill(buffer->data(), buffer->data() + buffer->size(), std::byte{0});
    matrix = {dtype, neurons, width, buffer->data()};
    error = QuantizeNeurons(DType::kF32, rows.data(), neurons, width, dtype,
                            buffer->data());
  }

  std::vector<float> Row(int64_t neuron) const {
    std::vector<float> row(matrix.width);
    DequantizeNeuron(matrix.dtype, matrix.width, matrix.record(neuron),
                     row.data());
    return row;
  }
};

// The same weights as panels.
struct Dense {
  std::shared_ptr<AlignedBuffer> buffer;
  QuantMatrix matrix;
  QuantError error;

  Dense(DType dtype, int64_t n, int64_t k) {
    const auto rows = Weights(n * k);
    buffer = AlignedBuffer::Make(*QuantMatrixBytes(dtype, n, k));
    const size_t panel_bytes = *QuantPanelBytes(dtype, k);
    for (int64_t row = 0; row < n; row += kQuantPanelRows) {
      error.Add(QuantizePanel(
          DType::kF32, &rows[row * k], std::min(kQuantPanelRows, n - row), k,
          dtype, buffer->data() + row / kQuantPanelRows * panel_bytes));
    }
    matrix = {dtype, n, k, buffer->data()};
  }
};

std::vector<float> Inputs(int64_t rows, int64_t k, uint32_t seed) {
  std::vector<float> x(rows * k);
  for (size_t i = 0; i < x.size(); ++i) x[i] = NormalNoise(i, seed);
  return x;
}

// A gate whose row r has about a share of its numbers left.
std::vector<float> Gate(int64_t rows, int64_t neurons, float share) {
  auto gate = Inputs(rows, neurons, 4);
  for (int64_t i = 0; i < rows * neurons; ++i) {
    if ((Noise(i, 9) + 1) / 2 >= share) gate[i] = 0;
  }
  return gate;
}

// The definition, over all neurons, zeros too.
std::vector<float> SumOfAll(const Neurons& w, const float* values) {
  std::vector<float> sums(w.matrix.width, 0.0f);
  for (int64_t neuron = 0; neuron < w.matrix.neurons; ++neuron) {
    const auto row = w.Row(neuron);
    for (int64_t i = 0; i < w.matrix.width; ++i) {
      sums[i] = std::fma(values[neuron], row[i], sums[i]);
    }
  }
  return sums;
}

// By the sparse path, with a guard behind.
std::vector<float> SumOfActive(const NeuronMatrix& w, const float* gate,
                               int64_t rows) {
  constexpr int64_t kGuard = 64;
  ActiveNeurons active;
  active.Find({gate, rows, w.neurons});
  std::vector<float> out(rows * w.width + kGuard, -7.0f);
  SumNeurons(w, active, {out.data(), rows, w.width});
  for (int64_t i = 0; i < kGuard; ++i) {
    EXPECT_EQ(out[rows * w.width + i], -7.0f) << "written past the end";
  }
  out.resize(rows * w.width);
  return out;
}

class NeuronLayoutTest : public testing::TestWithParam<DType> {};

INSTANTIATE_TEST_SUITE_P(DTypes, NeuronLayoutTest, testing::ValuesIn(kDTypes),
                         [](const auto& info) {
                           return std::string(NameOf(info.param));
                         });

TEST_P(NeuronLayoutTest, RecordHasTheCodesAndScalesOfThePanels) {
  for (int64_t width : kWidths) {
    const Neurons w(GetParam(), 19, width);
    const Dense dense(GetParam(), 19, width);
    EXPECT_DOUBLE_EQ(w.error.squared_error, dense.error.squared_error);
    EXPECT_DOUBLE_EQ(w.error.squared_weights, dense.error.squared_weights);
    std::vector<float> row(width);
    for (int64_t neuron = 0; neuron < 19; ++neuron) {
      DequantizeRow(GetParam(), dense.matrix.data, neuron, width, row.data());
      ASSERT_EQ(w.Row(neuron), row) << neuron << " of width " << width;
    }
  }
}

TEST_P(NeuronLayoutTest, SizesOfNoModel_HaveNoBytes) {
  EXPECT_EQ(NeuronMatrixBytes(GetParam(), 0, 64), std::nullopt);
  EXPECT_EQ(NeuronMatrixBytes(GetParam(), 64, -1), std::nullopt);
  EXPECT_EQ(NeuronMatrixBytes(GetParam(), int64_t{1} << 40, 64), std::nullopt);
  EXPECT_EQ(*NeuronMatrixBytes(DType::kInt4, 8192, 2048), 8192u * 1152);
  EXPECT_EQ(*NeuronMatrixBytes(DType::kInt8, 8192, 2048), 8192u * 2112);
}

class NeuronProductTest : public ProductKernelCases {
 protected:
  void SetUp() override {
    ProductKernelCases::SetUp();
    SetComputeThreads(1);
  }
};

INSTANTIATE_TEST_SUITE_P(Kernels, NeuronProductTest, EachProductKernels(),
                         ProductKernelsName);

TEST_P(NeuronProductTest, AtAnyNeurons_EqualsTheDenseProduct) {
  for (DType dtype : kDTypes) {
    for (int64_t width : kWidths) {
      constexpr int64_t kNeurons = 75;
      const Neurons w(dtype, kNeurons, width);
      const Dense dense(dtype, kNeurons, width);
      for (int64_t rows : {1, 3, 16, 17, 40}) {
        auto inputs = Inputs(rows, width, 2);
        if (rows == 3) inputs[width] = kNan;
        QuantRows x;
        x.Quantize({inputs.data(), rows, width});
        std::vector<float> expected(rows * kNeurons);
        QuantMatMul(dense.matrix, x, {expected.data(), rows, kNeurons});
        for (int64_t count : {0, 1, 15, 16, 17, 40, 75}) {
          std::vector<int32_t> neurons(count);
          for (int64_t i = 0; i < count; ++i) {
            neurons[i] = static_cast<int32_t>(i * kNeurons / count);
          }
          std::vector<float> got(rows * count + 64, -7.0f);
          NeuronMatMul(w.matrix, neurons, x, {got.data(), rows, count});
          for (int64_t r = 0; r < rows; ++r) {
            for (int64_t i = 0; i < count; ++i) {
              const float want = expected[r * kNeurons + neurons[i]];
              const float is = got[r * count + i];
              ASSERT_TRUE(is == want || (std::isnan(is) && std::isnan(want)))
                  << NameOf(dtype) << " width " << width << ", " << rows
                  << " rows, row " << r << ", " << i << " of " << count;
            }
          }
          for (int64_t i = 0; i < 64; ++i) {
            ASSERT_EQ(got[rows * count + i], -7.0f) << "written past the end";
          }
        }
      }
    }
  }
}

TEST_P(NeuronProductTest, AnyNumberOfThreads_GivesTheSame) {
  const Neurons w(DType::kInt4, 700, 192);
  std::vector<int32_t> neurons(700);
  std::iota(neurons.begin(), neurons.end(), 0);
  const auto inputs = Inputs(33, 192, 2);
  QuantRows x;
  x.Quantize({inputs.data(), 33, 192});
  const auto product = [&](int threads) {
    SetComputeThreads(threads);
    std::vector<float> out(33 * 700);
    NeuronMatMul(w.matrix, neurons, x, {out.data(), 33, 700});
    return out;
  };
  const auto one = product(1);
  for (int threads : {2, 3, 7}) EXPECT_EQ(product(threads), one) << threads;
}

class NeuronSumTest : public VectorTargets {
 protected:
  void SetUp() override {
    VectorTargets::SetUp();
    SetComputeThreads(1);
  }
  void TearDown() override {
    VectorTargets::TearDown();
    SetComputeThreads(threads_);
  }

  const int threads_ = ComputeThreads();
};

INSTANTIATE_TEST_SUITE_P(Targets, NeuronSumTest, EachVectorTarget(),
                         VectorTargetName);

TEST_P(NeuronSumTest, OverTheActive_EqualsTheSumOverAll) {
  for (DType dtype : kDTypes) {
    for (int64_t width : kWidths) {
      for (int64_t neurons : {1, 31, 150}) {
        const Neurons w(dtype, neurons, width);
        for (float share : {0.0f, 0.05f, 0.5f, 1.0f}) {
          const auto gate = Gate(3, neurons, share);
          const auto got = SumOfActive(w.matrix, gate.data(), 3);
          for (int64_t r = 0; r < 3; ++r) {
            const auto want = SumOfAll(w, &gate[r * neurons]);
            ASSERT_TRUE(std::equal(want.begin(), want.end(), &got[r * width]))
                << NameOf(dtype) << " " << neurons << " neurons of " << width
                << ", share " << share;
          }
        }
      }
    }
  }
}

TEST_P(NeuronSumTest, RowInAnyBatch_EqualsTheRowAlone) {
  constexpr int64_t kNeurons = 300, kWidth = 352, kRows = 200;
  for (DType dtype : kDTypes) {
    const Neurons w(dtype, kNeurons, kWidth);
    const auto gate = Gate(kRows, kNeurons, 0.05f);
    std::vector<float> alone;
    for (int64_t r = 0; r < kRows; ++r) {
      const auto row = SumOfActive(w.matrix, &gate[r * kNeurons], 1);
      alone.insert(alone.end(), row.begin(), row.end());
    }
    for (int64_t rows = 1; rows <= 40; ++rows) {
      const auto batch = SumOfActive(w.matrix, gate.data(), rows);
      ASSERT_TRUE(std::equal(batch.begin(), batch.end(), alone.begin()))
          << NameOf(dtype) << " " << rows;
    }
    ASSERT_EQ(SumOfActive(w.matrix, gate.data(), kRows), alone);
  }
}

// Wide enough for columns to be summed in several goes.
TEST_P(NeuronSumTest, ManyRows_EqualTheDefinition) {
  constexpr int64_t kNeurons = 40, kWidth = 1100, kRows = 600;
  const Neurons w(DType::kInt4, kNeurons, kWidth);
  const auto gate = Gate(kRows, kNeurons, 0.3f);
  const auto got = SumOfActive(w.matrix, gate.data(), kRows);
  for (int64_t r = 0; r < kRows; r += 37) {
    const auto want = SumOfAll(w, &gate[r * kNeurons]);
    ASSERT_TRUE(std::equal(want.begin(), want.end(), &got[r * kWidth])) << r;
  }
}

TEST_P(NeuronSumTest, AnyNumberOfThreads_GivesTheSame) {
  const Neurons w(DType::kInt8, 200, 1000);
  const auto gate = Gate(5, 200, 0.5f);
  SetComputeThreads(1);
  const auto one = SumOfActive(w.matrix, gate.data(), 5);
  for (int threads : {2, 3, 7}) {
    SetComputeThreads(threads);
    EXPECT_EQ(SumOfActive(w.matrix, gate.data(), 5), one) << threads;
  }
}

TEST_P(NeuronSumTest, NotANumberAndInfinity_ShowInTheirRowAlone) {
  const Neurons w(DType::kInt4, 50, 70);
  const auto clean = Gate(3, 50, 0.1f);
  const auto expected = SumOfActive(w.matrix, clean.data(), 3);
  for (float bad : {kNan, std::numeric_limits<float>::infinity()}) {
    auto gate = clean;
    gate[50 + 20] = bad;
    const auto got = SumOfActive(w.matrix, gate.data(), 3);
    for (int64_t i = 0; i < 70; ++i) {
      EXPECT_EQ(got[i], expected[i]);
      EXPECT_FALSE(std::isfinite(got[70 + i]));
      EXPECT_EQ(got[140 + i], expected[140 + i]);
    }
  }
}

TEST(ActiveNeurons, ListsWhatIsNotZero_ByRowAndForAll) {
  const std::vector<float> gate = {0, 2, -0.0f, kNan, 0, 5, 0, 0};
  ActiveNeurons active;
  active.Find({gate.data(), 2, 4});
  EXPECT_EQ(active.neurons(), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(active.places(0), (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(active.places(1), (std::vector<int32_t>{0}));
  EXPECT_EQ(active.values(0)[0], 2);
  EXPECT_EQ(active.values(1)[0], 5);
  EXPECT_EQ(active.total(), 3);
  const std::vector<float> up = {10, 20, 30, 40};
  active.Activate({up.data(), 2, 2});
  float expected[] = {2, 5};
  const float ups[] = {10, 30};
  GeluTanhTimes(ups, 2, expected);
  EXPECT_EQ(active.values(0)[0], expected[0]);
  EXPECT_TRUE(std::isnan(active.values(0)[1]));
  EXPECT_EQ(active.values(1)[0], expected[1]);
  active.Find({gate.data(), 0, 4});
  EXPECT_EQ(active.rows(), 0);
  EXPECT_TRUE(active.neurons().empty());
}

}  // namespace
}  // namespace lapidary::kernels
