// The f32 product by AMX against a plain loop in f64: as exact as one in f32,
// at every shape, and a row the same in any company.
#include "kernels/gemm/amx_f32.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/gemm/amx_product.h"
#include "kernels/tensor.h"
#include "tests/kernels/gemm/product_case.h"

namespace lapidary::kernels {
namespace {

class AmxF32Test : public testing::Test, protected ProductCase {
 protected:
  void SetUp() override {
    if (!AmxProductUsable()) GTEST_SKIP() << "no AMX on this CPU";
  }

  void Make(int64_t rows, int64_t n, int64_t k, float weight_size = 1,
            float input_size = 1) {
    Draw(rows, n, k);
    for (float& w : weights_) w *= weight_size;
    for (float& x : inputs_) x *= input_size;
    Pack();
  }
  void Pack() { ProductCase::Pack(DType::kF32); }

  std::vector<float> Multiply(int64_t first, int64_t count) override {
    const auto rows = PutRows<AmxF32Rows>(first, count);
    return Written(count, [&](float* outputs) {
      AmxMultiplyF32(rows, n_, panels_->data(), outputs);
    });
  }
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
  ExpectThatCompanyChangesNoRow();
}

TEST_F(AmxF32Test, NoRows_IsNoWork) {
  Make(1, 70, 50);
  Multiply(0, 0);
}

TEST_F(AmxF32Test, NotANumber_ShowsInItsRowAlone) {
  Make(20, 40, 60);
  ExpectThatNotANumberShowsInItsRowAlone();
}

}  // namespace
}  // namespace lapidary::kernels
