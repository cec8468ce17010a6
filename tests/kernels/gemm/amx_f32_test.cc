// The f32 product by AMX against a plain loop in f64: as exact as one in f32,
// at every shape, and a row the same in any company.
#include "kernels/gemm/amx_f32.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/gemm/amx_product.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kGuard = 4096;

class AmxF32Test : public testing::Test {
 protected:
  void SetUp() override {
    if (!AmxProductUsable()) GTEST_SKIP() << "no AMX on this CPU";
  }

  // Between -1 and 1, of 24 bits.
  static float Noise(int64_t i, uint32_t seed) {
    uint32_t h = static_cast<uint32_t>(i) * 2654435761u + seed * 40503u + 1;
    h = (h ^ (h >> 15)) * 2246822519u;
    h ^= h >> 13;
    return static_cast<float>(h) / 2147483648.0f - 1;
  }

  void Make(int64_t rows, int64_t n, int64_t k, float weight_size = 1,
            float input_size = 1) {
    rows_ = rows;
    n_ = n;
    k_ = k;
    weights_.resize(n * k);
    inputs_.resize(rows * k);
    for (int64_t i = 0; i < rows * k; ++i)
      inputs_[i] = input_size * Noise(i, 2);
    for (int64_t i = 0; i < n * k; ++i) weights_[i] = weight_size * Noise(i, 1);
    Pack();
  }

  // `weights_`, as they are now.
  void Pack() {
    const size_t bytes = PanelMatrixBytes(DType::kF32, n_, k_);
    panels_ = AlignedBuffer::Make(bytes + kGuard);
    std::memset(panels_->data() + bytes, 0xFF, kGuard);  // NaN behind
    for (int64_t row = 0; row < n_; row += kPanelRows) {
      PackPanel(
          DType::kF32, &weights_[row * k_], std::min(kPanelRows, n_ - row), k_,
          DType::kF32,
          panels_->data() + row / kPanelRows * PanelBytes(DType::kF32, k_));
    }
  }

  // Rows [first, first + count), in memory that was full of NaN.
  std::vector<float> Multiply(int64_t first, int64_t count) {
    const size_t bytes = AmxF32Rows::Bytes(count, k_);
    const auto memory = AlignedBuffer::Make(bytes + kGuard);
    std::memset(memory->data(), 0xFF, memory->size());
    const AmxF32Rows rows(count, k_, memory->data());
    for (int64_t r = 0; r < count; ++r) {
      // In two pieces where there are two.
      const float* const row = inputs_.data() + (first + r) * k_;
      const int64_t piece = std::min<int64_t>(k_, 64);
      rows.Put(r, 0, row, piece);
      if (piece < k_) rows.Put(r, piece, row + piece, k_ - piece);
    }
    for (size_t i = bytes; i < memory->size(); ++i) {
      EXPECT_EQ(memory->data()[i], std::byte{0xFF})
          << "written behind the rows";
    }
    std::vector<float> outputs(count * n_ + 2 * kGuard, -7.0f);
    AmxMultiplyF32(rows, n_, panels_->data(), &outputs[kGuard]);
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
  std::shared_ptr<AlignedBuffer> panels_;
};

TEST_F(AmxF32Test, EqualsAPlainLoop_AtEveryShape) {
  for (const int64_t n : {1, 15, 16, 17, 64, 97, 130, 300}) {
    for (const int64_t k : {1, 2, 16, 27, 32, 33, 48, 64, 95, 130}) {
      for (const int64_t rows : {1, 2, 15, 16, 17, 33, 48, 65}) {
        Make(rows, n, k);
        ASSERT_LE(Error(), 3e-7) << rows << " rows of " << n << " x " << k;
      }
    }
  }
}

TEST_F(AmxF32Test, EqualsAPlainLoop_AtLongSums) {
  for (const int64_t n : {20, 64, 350}) {
    for (const int64_t k : {384, 385, 1536, 5300}) {
      Make(50, n, k);
      ASSERT_LE(Error(), 1.2e-7) << n << " x " << k;
    }
  }
}

// Where nothing cancels, small products come to a large sum, as they do in f32:
// the sum of 6144 may lose twice what a chain in f32 loses.
TEST_F(AmxF32Test, SumsOfOneSign_AreNearlyAsExactAsAChainInF32) {
  for (const int64_t k : {100, 1536, 6144}) {
    Make(20, 40, k);
    for (float& w : weights_) w = std::fabs(w);
    for (float& x : inputs_) x = std::fabs(x);
    Pack();
    double chain = 0;
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t out = 0; out < n_; ++out) {
        double exact = 0;
        float sum = 0;
        for (int64_t i = 0; i < k; ++i) {
          const float w = weights_[out * k + i], x = inputs_[r * k + i];
          exact += static_cast<double>(w) * x;
          sum = std::fma(w, x, sum);
        }
        chain = std::max(chain, std::abs(sum - exact) / exact);
      }
    }
    EXPECT_LE(Error(), 2 * chain) << k;
  }
}

// Eight bits that are all set, and what rounds up to the next power of two.
TEST_F(AmxF32Test, EveryMantissaIsSplitExactly) {
  Make(16, 16, 32);
  const float hard[] = {1.99999988f,  1.99218738f, 1.99609375f,  1.00390613f,
                        -1.49999988f, 1.00000012f, -1.99609363f, 0.99999994f};
  for (int64_t i = 0; i < rows_ * k_; ++i) inputs_[i] = hard[i * 5 % 8];
  for (int64_t i = 0; i < n_ * k_; ++i) weights_[i] = i % k_ == 3 ? 1 : 0;
  Pack();
  const auto outputs = Multiply(0, rows_);
  for (int64_t i = 0; i < rows_ * n_; ++i) {
    ASSERT_EQ(outputs[i], inputs_[i / n_ * k_ + 3]);
  }
  inputs_.swap(weights_);
  Pack();
  const auto swapped = Multiply(0, rows_);
  for (int64_t i = 0; i < rows_ * n_; ++i) {
    ASSERT_EQ(swapped[i], weights_[i % n_ * k_ + 3]);
  }
}

TEST_F(AmxF32Test, LargeAndSmallNumbers_AreAsExact) {
  for (const float size : {1e-25f, 1e-12f, 1e12f, 1e30f}) {
    Make(20, 70, 200, size, 1 / size);
    EXPECT_LE(Error(), 3e-7) << size;
    Make(20, 70, 200, 1 / size, size);
    EXPECT_LE(Error(), 3e-7) << size;
  }
}

TEST_F(AmxF32Test, RowInABatch_EqualsTheRowAlone) {
  Make(70, 130, 3100);
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

TEST_F(AmxF32Test, NoRows_IsNoWork) {
  Make(1, 70, 50);
  Multiply(0, 0);
}

TEST_F(AmxF32Test, NotANumber_ShowsInItsRowAlone) {
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
