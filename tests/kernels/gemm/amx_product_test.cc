// The AMX product against a plain loop in f64, and what oneDNN does not promise
// of its own: that a row does not depend on its company.
#include "kernels/gemm/amx_product.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bf16.h"
#include "kernels/gemm/amx_rows.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {
namespace {

enum class Order { kPlain, kAmxRows };

class AmxProductTest : public testing::TestWithParam<Order> {
 protected:
  void SetUp() override {
    if (!AmxProductUsable()) GTEST_SKIP() << "no AMX on this CPU";
  }

  // Between -1 and 1.
  static float Noise(int64_t i, uint32_t seed) {
    uint32_t h = static_cast<uint32_t>(i) * 2654435761u + seed * 40503u + 1;
    h = (h ^ (h >> 15)) * 2246822519u;
    h ^= h >> 13;
    const float value = static_cast<float>(h) / 2147483648.0f - 1;
    return Bf16ToFloat(FloatToBf16(value));
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
    for (int64_t i = 0; i < rows * k; ++i) inputs_[i] = Noise(i, 2);
  }

  // Rows [first, first + count), in memory that was full of NaN.
  AmxInputs Inputs(int64_t first, int64_t count) {
    const size_t bytes = GetParam() == Order::kPlain
                             ? count * k_ * 2
                             : AmxRows::Bytes(count, k_);
    rows_memory_ = AlignedBuffer::Make(bytes + 4096);
    std::byte* const data = rows_memory_->data();
    std::memset(data, 0xFF, bytes + 4096);
    if (GetParam() == Order::kPlain) {
      auto* const rows = reinterpret_cast<uint16_t*>(data);
      for (int64_t i = 0; i < count * k_; ++i) {
        rows[i] = FloatToBf16(inputs_[first * k_ + i]);
      }
      return AmxInputs::Plain(rows, count, k_);
    }
    const AmxRows rows(count, k_, data);
    for (int64_t r = 0; r < count; ++r) {
      // In two pieces where there are two.
      const int64_t piece = std::min<int64_t>(k_, 64);
      rows.Put(r, 0, &inputs_[(first + r) * k_], piece);
      rows.Put(r, piece, &inputs_[(first + r) * k_] + piece, k_ - piece);
    }
    for (size_t i = bytes; i < bytes + 4096; ++i) {
      EXPECT_EQ(data[i], std::byte{0xFF}) << "written behind the rows";
    }
    return rows.inputs();
  }

  std::vector<float> Multiply(int64_t first, int64_t count) {
    constexpr int64_t kGuard = 4096;
    std::vector<float> outputs(count * n_ + 2 * kGuard, -7.0f);
    AmxMultiply({Inputs(first, count), n_, panels_->data(), &outputs[kGuard]});
    for (int64_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(outputs[i], -7.0f) << "written before the outputs";
      EXPECT_EQ(outputs[kGuard + count * n_ + i], -7.0f)
          << "written behind the outputs";
    }
    return {outputs.begin() + kGuard, outputs.end() - kGuard};
  }

  // The largest difference from a loop in f64, as a share of what the products
  // come to without their signs.
  double Error() {
    const auto outputs = Multiply(0, rows_);
    double error = 0;
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t out = 0; out < n_; ++out) {
        double sum = 0, size = 0;
        for (int64_t i = 0; i < k_; ++i) {
          const double product =
              static_cast<double>(weights_[out * k_ + i]) * inputs_[r * k_ + i];
          sum += product;
          size += std::abs(product);
        }
        const double off = std::abs(outputs[r * n_ + out] - sum) / size;
        if (std::isnan(off)) return std::numeric_limits<double>::infinity();
        error = std::max(error, off);
      }
    }
    return error;
  }

  int64_t rows_ = 0, n_ = 0, k_ = 0;
  std::vector<float> weights_, inputs_;
  std::shared_ptr<AlignedBuffer> panels_, rows_memory_;
};

INSTANTIATE_TEST_SUITE_P(Orders, AmxProductTest,
                         testing::Values(Order::kPlain, Order::kAmxRows),
                         [](const auto& info) {
                           return info.param == Order::kPlain ? "Plain"
                                                              : "AmxRows";
                         });

TEST_P(AmxProductTest, EqualsAPlainLoop_AtEveryShape) {
  for (const int64_t n : {1, 16, 31, 32, 33, 64, 97, 130, 300}) {
    for (const int64_t k : {1, 2, 16, 27, 32, 33, 64, 95, 130}) {
      for (const int64_t rows : {1, 2, 15, 16, 17, 31, 32, 33, 48, 58, 65}) {
        Make(rows, n, k);
        ASSERT_LE(Error(), 3e-7) << rows << " rows of " << n << " x " << k;
      }
    }
  }
}

// Sums of several stretches of k, in the target and beside it.
TEST_P(AmxProductTest, EqualsAPlainLoop_AtLongSums) {
  for (const int64_t n : {20, 64, 350}) {
    for (const int64_t k : {384, 385, 415, 1536, 2100, 5300}) {
      Make(50, n, k);
      ASSERT_LE(Error(), 3e-7) << n << " x " << k;
    }
  }
}

TEST_P(AmxProductTest, RowInABatch_EqualsTheRowAlone) {
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

TEST_P(AmxProductTest, Rounded_IsTheSameToNearestEven) {
  for (const int64_t n : {1, 31, 32, 64, 97, 350}) {
    for (const int64_t k : {70, 500, 2700}) {
      Make(50, n, k);
      const auto exact = Multiply(0, 50);
      std::vector<uint16_t> rounded(50 * n + 1, 7);
      AmxMultiply(
          {Inputs(0, 50), n, panels_->data(), rounded.data(), DType::kBf16});
      for (int64_t i = 0; i < 50 * n; ++i) {
        ASSERT_EQ(rounded[i], FloatToBf16(exact[i])) << n << " " << i;
      }
      EXPECT_EQ(rounded.back(), 7) << "written behind the outputs";
    }
  }
}

TEST_P(AmxProductTest, NoRows_IsNoWork) {
  Make(1, 70, 50);
  Multiply(0, 0);
}

TEST_P(AmxProductTest, NotANumber_ShowsInItsRowAlone) {
  Make(20, 40, 60);
  inputs_[3 * k_ + 5] = std::numeric_limits<float>::quiet_NaN();
  inputs_[7 * k_] = std::numeric_limits<float>::infinity();
  const auto outputs = Multiply(0, 20);
  for (int64_t i = 0; i < 20 * n_; ++i) {
    EXPECT_EQ(std::isfinite(outputs[i]), i / n_ != 3 && i / n_ != 7) << i;
  }
}

}  // namespace
}  // namespace lapidary::kernels
