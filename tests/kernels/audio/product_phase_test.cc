// A product as a phase, cut by rows and columns, against a plain loop.
#include "kernels/audio/product_phase.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/audio/phase.h"
#include "kernels/gemm/weight_layout.h"
#include "kernels/gemm/weight_matrix.h"
#include "kernels/tensor.h"
#include "tests/support/noise.h"

namespace lapidary::kernels::audio {
namespace {

// Of a sum of all, as a share of the largest output.
double Tolerance(DType dtype) {
  return dtype == DType::kF32 ? 1e-6 : dtype == DType::kBf16 ? 1e-2 : 4e-2;
}

class ProductPhaseTest : public testing::TestWithParam<DType> {};

INSTANTIATE_TEST_SUITE_P(DTypes, ProductPhaseTest,
                         testing::Values(DType::kF32, DType::kBf16,
                                         DType::kInt8),
                         [](const auto& info) { return NameOf(info.param); });

constexpr int64_t kN = 330, kK = 160;

std::shared_ptr<AlignedBuffer> Pack(DType dtype,
                                    const std::vector<float>& weights) {
  const int64_t panel_rows = WeightPanelRows(dtype);
  auto packed = AlignedBuffer::Make(*WeightMatrixBytes(dtype, kN, kK));
  for (int64_t row = 0; row < kN; row += panel_rows) {
    PackWeightPanel(
        DType::kF32, &weights[row * kK], std::min(panel_rows, kN - row), kK,
        dtype,
        packed->data() + row / panel_rows * *WeightPanelBytes(dtype, kK));
  }
  return packed;
}

std::vector<float> Multiply(const WeightMatrix& w,
                            const std::vector<float>& inputs, int64_t rows) {
  const auto memory = AlignedBuffer::Make(ProductRows::Bytes(w, rows));
  const ProductRows in(w, rows, memory->data());
  in.PutRows({0, rows}, inputs.data());
  std::vector<float> outputs(rows * kN, NAN);
  const auto take = [&](const Piece& piece) {
    for (int64_t r = 0; r < piece.rows.count; ++r) {
      std::copy_n(piece.values + r * piece.columns, piece.columns,
                  &outputs[(piece.rows.first + r) * kN + piece.column]);
    }
  };
  const Phase phase = ProductPhase({{&w, take}}, in);
  Lane lane;
  for (int64_t item = 0; item < phase.items; ++item) phase.run(item, &lane);
  return outputs;
}

// One range of rows, two, and three, with and without a rest; columns that fill
// no panel.
TEST_P(ProductPhaseTest, EqualsAPlainLoop_HoweverManyRows) {
  std::vector<float> weights(kN * kK);
  for (int64_t i = 0; i < kN * kK; ++i) weights[i] = Noise(i, 1);
  const auto packed = Pack(GetParam(), weights);
  const auto w = WeightMatrix::Wrap(GetParam(), kN, kK, packed->data());
  ASSERT_TRUE(w.ok()) << w.status();
  for (const int64_t rows : {1, 40, 384, 385, 768, 800}) {
    std::vector<float> inputs(rows * kK);
    for (int64_t i = 0; i < rows * kK; ++i) inputs[i] = Noise(i, 2);
    const std::vector<float> outputs = Multiply(*w, inputs, rows);
    double most = 0, error = 0;
    for (int64_t i = 0; i < rows * kN; ++i) {
      double sum = 0;
      for (int64_t at = 0; at < kK; ++at) {
        sum += static_cast<double>(weights[i % kN * kK + at]) *
               inputs[i / kN * kK + at];
      }
      const double off = std::abs(outputs[i] - sum);
      ASSERT_FALSE(std::isnan(off)) << rows << " " << i / kN << " " << i % kN;
      error = std::max(error, off);
      most = std::max(most, std::abs(sum));
    }
    EXPECT_LE(error / most, Tolerance(GetParam())) << rows;
  }
}

}  // namespace
}  // namespace lapidary::kernels::audio
