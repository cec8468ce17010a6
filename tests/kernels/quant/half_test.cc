// fp16 against its definition, sign · 2^(e - 25) · (1024 + m), for every bit
// pattern and for the numbers around every rounding boundary.

#include "kernels/half.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"

namespace lapidary::kernels {
namespace {

double Defined(uint16_t half) {
  const int exponent = half >> 10 & 0x1F;
  const int mantissa = half & 0x3FF;
  const double size = exponent == 0
                          ? std::ldexp(mantissa, -24)
                          : std::ldexp(1024 + mantissa, exponent - 25);
  return (half & 0x8000) != 0 ? -size : size;
}

TEST(HalfTest, ToFloat_IsExact_ForEveryNumber) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat(half);
    if ((half & 0x7C00) != 0x7C00) {
      ASSERT_EQ(value, Defined(half)) << bits;
      ASSERT_EQ(std::signbit(value), half >> 15 == 1) << bits;
    } else if ((half & 0x3FF) == 0) {
      ASSERT_TRUE(std::isinf(value)) << bits;
      ASSERT_EQ(value < 0, half >> 15 == 1) << bits;
    } else {
      ASSERT_TRUE(std::isnan(value)) << bits;
    }
  }
}

TEST(HalfTest, ToHalf_GivesEveryNumberBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat(half);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(HalfToFloat(FloatToHalf(value))));
    } else {
      ASSERT_EQ(FloatToHalf(value), half);
    }
  }
}

TEST(HalfTest, ToHalf_RoundsToNearest_TiesToEven) {
  for (uint16_t half = 0; half < 0x7BFF; ++half) {
    const float low = HalfToFloat(half), high = HalfToFloat(half + 1);
    const float middle = (low + high) / 2;  // exact in f32
    const uint16_t even = half % 2 == 0 ? half : half + 1;
    ASSERT_EQ(FloatToHalf(middle), even) << half;
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, low)), half);
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, high)), half + 1);
    ASSERT_EQ(FloatToHalf(-middle), 0x8000 | even) << half;
  }
}

TEST(HalfTest, ToHalf_OfWhatIsTooLarge_IsInfinite) {
  EXPECT_EQ(FloatToHalf(65504), 0x7BFF);
  EXPECT_EQ(FloatToHalf(std::nextafter(65520.0f, 0.0f)), 0x7BFF);
  EXPECT_EQ(FloatToHalf(65520), 0x7C00);
  EXPECT_EQ(FloatToHalf(-std::numeric_limits<float>::infinity()), 0xFC00);
  EXPECT_EQ(FloatToHalf(1e-30f), 0);
}

}  // namespace
}  // namespace lapidary::kernels
