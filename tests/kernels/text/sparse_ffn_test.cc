// The sparse feed-forward network against the dense one, to the bit.

#include "kernels/text/sparse_ffn.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/quant/activations.h"
#include "kernels/quant/neuron_layout.h"
#include "kernels/quant/product.h"
#include "kernels/quant/quantize.h"
#include "kernels/simd/row_ops.h"
#include "kernels/tensor.h"
#include "tests/support/noise.h"

namespace lapidary::kernels::text {
namespace {

std::vector<float> Normal(int64_t count, uint32_t seed, float scale) {
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = scale * NormalNoise(i, seed);
  return values;
}

std::vector<std::byte> Panels(DType dtype, const std::vector<float>& rows,
                              int64_t n, int64_t k) {
  std::vector<std::byte> packed(*QuantMatrixBytes(dtype, n, k));
  const size_t panel = *QuantPanelBytes(dtype, k);
  for (int64_t row = 0; row < n; row += kQuantPanelRows) {
    QuantizePanel(DType::kF32, &rows[row * k],
                  std::min(kQuantPanelRows, n - row), k, dtype,
                  &packed[row / kQuantPanelRows * panel]);
  }
  return packed;
}

// Gate, up and transposed down, [inner][hidden] each.
struct Layer {
  DType dtype;
  int64_t inner, hidden;
  std::vector<std::byte> gate, dense_up, up, down;
  LayerWeights weights;

  Layer(DType type, int64_t inner_width, int64_t hidden_width)
      : dtype(type), inner(inner_width), hidden(hidden_width) {
    const int64_t count = inner * hidden;
    gate = Panels(dtype, Normal(count, 1, 0.05f), inner, hidden);
    dense_up = Panels(dtype, Normal(count, 2, 0.05f), inner, hidden);
    weights.gate_proj = *WeightMatrix::Wrap(dtype, inner, hidden, gate.data());
    weights.up_neurons = Neurons(Normal(count, 2, 0.05f), &up);
    weights.down_neurons = Neurons(Normal(count, 3, 0.05f), &down);
    weights.sparsity_multiplier = SparsityMultiplier(0.95f);
  }

  NeuronMatrix Neurons(const std::vector<float>& rows,
                       std::vector<std::byte>* records) const {
    records->resize(*NeuronMatrixBytes(dtype, inner, hidden));
    QuantizeNeurons(DType::kF32, rows.data(), inner, hidden, dtype,
                    records->data());
    return {dtype, inner, hidden, records->data()};
  }

  // Every neuron of every row.
  std::vector<float> RunDense(const std::vector<float>& x, int64_t rows) const {
    QuantRows quantized;
    quantized.Quantize({x.data(), rows, hidden});
    std::vector<float> gates(rows * inner), ups(rows * inner);
    QuantMatMul({dtype, inner, hidden, gate.data()}, quantized,
                {gates.data(), rows, inner});
    QuantMatMul({dtype, inner, hidden, dense_up.data()}, quantized,
                {ups.data(), rows, inner});
    std::vector<float> out(rows * hidden, 0.0f), neuron(hidden);
    for (int64_t r = 0; r < rows; ++r) {
      float* values = &gates[r * inner];
      GaussianTopK(weights.sparsity_multiplier, inner, values);
      GeluTanhTimes(&ups[r * inner], inner, values);
      for (int64_t f = 0; f < inner; ++f) {
        DequantizeNeuron(dtype, hidden, weights.down_neurons.record(f),
                         neuron.data());
        for (int64_t i = 0; i < hidden; ++i) {
          float& sum = out[r * hidden + i];
          sum = std::fma(values[f], neuron[i], sum);
        }
      }
    }
    return out;
  }

  std::vector<float> RunSparse(const std::vector<float>& x, int64_t rows,
                               SparseFfn* ffn) const {
    std::vector<float> gates(rows * inner), ups(rows * inner);
    std::vector<float> out = x;
    ffn->Run(weights, {out.data(), rows, hidden}, {gates.data(), rows, inner},
             {ups.data(), rows, inner}, {out.data(), rows, hidden});
    return out;
  }
};

class SparseFfnTest : public testing::TestWithParam<DType> {};

INSTANTIATE_TEST_SUITE_P(DTypes, SparseFfnTest,
                         testing::Values(DType::kInt8, DType::kInt4),
                         [](const auto& info) {
                           return std::string(NameOf(info.param));
                         });

TEST_P(SparseFfnTest, EqualsTheDense_AtAnyNumberOfRows) {
  SparseFfn ffn;
  for (const auto& [inner, hidden] :
       {std::pair(1003, 130), std::pair(256, 64), std::pair(5, 1)}) {
    const Layer layer(GetParam(), inner, hidden);
    for (int64_t rows : {1, 2, 7, 16, 17, 40, 1}) {
      const auto x = Normal(rows * hidden, 4, 1);
      EXPECT_EQ(layer.RunSparse(x, rows, &ffn), layer.RunDense(x, rows))
          << rows << " rows, " << inner << " of " << hidden;
    }
  }
}

TEST_P(SparseFfnTest, ARowThatIsNoNumber_StaysSo_AndAlone) {
  SparseFfn ffn;
  const Layer layer(GetParam(), 200, 70);
  auto x = Normal(3 * 70, 5, 1);
  const auto clean = layer.RunSparse(x, 3, &ffn);
  for (float bad : {std::numeric_limits<float>::quiet_NaN(),
                    -std::numeric_limits<float>::infinity()}) {
    x[70 + 69] = bad;
    const auto got = layer.RunSparse(x, 3, &ffn);
    for (int64_t i = 0; i < 70; ++i) {
      EXPECT_EQ(got[i], clean[i]);
      EXPECT_TRUE(std::isnan(got[70 + i]));
      EXPECT_EQ(got[140 + i], clean[140 + i]);
    }
  }
}

TEST_P(SparseFfnTest, CountsWhatTheCutoffLeaves) {
  SparseFfn ffn;
  EXPECT_EQ(ffn.count().ActiveShare(), 1);
  const Layer layer(GetParam(), 4096, 64);
  layer.RunSparse(Normal(4 * 64, 6, 1), 4, &ffn);
  EXPECT_EQ(ffn.count().neurons, 4 * 4096);
  EXPECT_NEAR(ffn.count().ActiveShare(), 0.05, 0.02);
  layer.RunSparse(Normal(64, 7, 1), 1, &ffn);
  EXPECT_EQ(ffn.count().neurons, 5 * 4096);
}

// All zeros: the cutoff is 0, and nothing is above it.
TEST_P(SparseFfnTest, NothingActive_IsZero) {
  SparseFfn ffn;
  const Layer layer(GetParam(), 40, 70);
  EXPECT_EQ(layer.RunSparse(std::vector<float>(2 * 70, 0.0f), 2, &ffn),
            std::vector<float>(2 * 70, 0.0f));
}

}  // namespace
}  // namespace lapidary::kernels::text
