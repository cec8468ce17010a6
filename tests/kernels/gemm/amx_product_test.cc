// The AMX product against a plain loop in f64, and what oneDNN does not promise
// of its own: that a row does not depend on its company.
#include "kernels/gemm/amx_product.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bf16.h"
#include "kernels/gemm/amx_rows.h"
#include "kernels/tensor.h"
#include "tests/kernels/gemm/product_case.h"

namespace lapidary::kernels {
namespace {

enum class Order { kPlain, kAmxRows };

class AmxProductTest : public testing::TestWithParam<Order>,
                       protected ProductCase {
 protected:
  void SetUp() override {
    if (!AmxProductUsable()) GTEST_SKIP() << "no AMX on this CPU";
  }

  // Numbers that bf16 holds.
  void Make(int64_t rows, int64_t n, int64_t k) {
    Draw(rows, n, k);
    for (float& w : weights_) w = Bf16ToFloat(FloatToBf16(w));
    for (float& x : inputs_) x = Bf16ToFloat(FloatToBf16(x));
    Pack(DType::kBf16);
  }

  // Rows [first, first + count), in memory that was full of NaN.
  AmxInputs Inputs(int64_t first, int64_t count) {
    if (GetParam() == Order::kAmxRows) {
      return PutRows<AmxRows>(first, count).inputs();
    }
    rows_memory_ = NotANumbers(count * k_ * 2 + kGuard);
    auto* const rows = reinterpret_cast<uint16_t*>(rows_memory_->data());
    for (int64_t i = 0; i < count * k_; ++i) {
      rows[i] = FloatToBf16(inputs_[first * k_ + i]);
    }
    return AmxInputs::Plain(rows, count, k_);
  }

  std::vector<float> Multiply(int64_t first, int64_t count) override {
    return Written(count, [&](float* outputs) {
      AmxMultiply({Inputs(first, count), n_, panels_->data(), outputs});
    });
  }
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
  ExpectThatCompanyChangesNoRow();
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
  ExpectThatNotANumberShowsInItsRowAlone();
}

}  // namespace
}  // namespace lapidary::kernels
