// The AMX product against a plain loop in f64, and what oneDNN does not promise
// of its own: that a row does not depend on its company.
#include "kernels/gemm/amx_product.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bf16.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {
namespace {

float Noise(int64_t i, uint32_t seed) {
  uint32_t h = static_cast<uint32_t>(i) * 2654435761u + seed * 40503u + 1;
  h = (h ^ (h >> 15)) * 2246822519u;
  h ^= h >> 13;
  const float value = static_cast<float>(h) / 2147483648.0f - 1;
  return Bf16ToFloat(FloatToBf16(value));
}

class AmxProductTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!AmxProductUsable()) GTEST_SKIP() << "no AMX on this CPU";
  }

  // weights [n][k] of Noise(…, 1), inputs [rows][k] of Noise(…, 2).
  void Make(int64_t rows, int64_t n, int64_t k) {
    rows_ = rows;
    n_ = n;
    k_ = k;
    weights_.resize(n * k);
    for (int64_t i = 0; i < n * k; ++i) weights_[i] = Noise(i, 1);
    panels_ = AlignedBuffer::Make(PanelMatrixBytes(DType::kBf16, n, k));
    for (int64_t row = 0; row < n; row += kPanelRows) {
      PackPanel(
          DType::kF32, &weights_[row * k], std::min(kPanelRows, n - row), k,
          DType::kBf16,
          panels_->data() + row / kPanelRows * PanelBytes(DType::kBf16, k));
    }
    inputs_.resize(rows * k);
    for (int64_t i = 0; i < rows * k; ++i) {
      inputs_[i] = FloatToBf16(Noise(i, 2));
    }
  }

  // Of rows [first, first + count), with NaN around the inputs.
  std::vector<float> Multiply(int64_t first, int64_t count) const {
    constexpr int64_t kGuard = 4096;
    std::vector<uint16_t> inputs(count * k_ + 2 * kGuard, 0x7FC0);
    std::copy(&inputs_[first * k_], &inputs_[first * k_] + count * k_,
              &inputs[kGuard]);
    std::vector<float> outputs(count * n_ + 2 * kGuard, -7.0f);
    AmxMultiply(
        {count, n_, k_, panels_->data(), &inputs[kGuard], &outputs[kGuard]});
    for (int64_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(outputs[i], -7.0f) << "written before the outputs";
      EXPECT_EQ(outputs[kGuard + count * n_ + i], -7.0f)
          << "written behind the outputs";
    }
    return {outputs.begin() + kGuard, outputs.end() - kGuard};
  }

  void ExpectPlainLoop() const {
    const auto outputs = Multiply(0, rows_);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t out = 0; out < n_; ++out) {
        double sum = 0, size = 0;
        for (int64_t i = 0; i < k_; ++i) {
          const double product = static_cast<double>(weights_[out * k_ + i]) *
                                 Bf16ToFloat(inputs_[r * k_ + i]);
          sum += product;
          size += std::abs(product);
        }
        ASSERT_NEAR(outputs[r * n_ + out], sum, 2e-6 * size)
            << rows_ << " rows of " << n_ << " x " << k_ << " at " << r << ", "
            << out;
      }
    }
  }

  int64_t rows_ = 0, n_ = 0, k_ = 0;
  std::vector<float> weights_;
  std::shared_ptr<AlignedBuffer> panels_;
  std::vector<uint16_t> inputs_;
};

TEST_F(AmxProductTest, EqualsAPlainLoop_AtEveryShape) {
  for (const int64_t n : {1, 16, 31, 32, 33, 64, 97, 130}) {
    for (const int64_t k : {1, 2, 27, 32, 33, 64, 95, 130}) {
      for (const int64_t rows : {1, 2, 15, 16, 17, 31, 32, 33, 48, 58, 65}) {
        Make(rows, n, k);
        ExpectPlainLoop();
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(AmxProductTest, RowInABatch_EqualsTheRowAlone) {
  Make(70, 130, 6150);
  const auto together = Multiply(0, 70);
  for (const int64_t count : {1, 3, 16, 23, 32, 50}) {
    for (int64_t first = 0; first + count <= 70; first += count) {
      const auto some = Multiply(first, count);
      ASSERT_TRUE(
          std::equal(some.begin(), some.end(), together.begin() + first * n_))
          << "rows from " << first << ", " << count << " of them";
    }
  }
}

TEST_F(AmxProductTest, Rounded_IsTheSameToNearestEven) {
  for (const int64_t n : {1, 31, 32, 64, 97}) {
    Make(50, n, 70);
    const auto exact = Multiply(0, 50);
    std::vector<uint16_t> rounded(50 * n + 1, 7);
    AmxMultiply({50, n, 70, panels_->data(), inputs_.data(), rounded.data(),
                 DType::kBf16});
    for (int64_t i = 0; i < 50 * n; ++i) {
      ASSERT_EQ(rounded[i], FloatToBf16(exact[i])) << n << " " << i;
    }
    EXPECT_EQ(rounded.back(), 7) << "written behind the outputs";
  }
}

TEST_F(AmxProductTest, NoRows_IsNoWork) {
  Make(1, 70, 50);
  Multiply(0, 0);
}

}  // namespace
}  // namespace lapidary::kernels
