#include "kernels/machine/peaks.h"

#include <string>

#include "gtest/gtest.h"

namespace lapidary::kernels {
namespace {

TEST(Peaks, ReadRate_IsThatOfWholeGrains) {
  auto buffer = AlignedBuffer::Make(1 << 20);
  EXPECT_GT(MeasureReadRate(buffer->data(), 1 << 20, 2), 0.0);
  EXPECT_EQ(MeasureReadRate(buffer->data(), 100, 2), 0.0);
}

TEST(Peaks, EveryWeightDType_HasAnInstruction) {
  for (DType dtype : {DType::kF32, DType::kBf16, DType::kInt8, DType::kInt4}) {
    const ArithmeticPeak peak = MeasureArithmeticPeak(dtype, 2);
    EXPECT_NE(std::string(peak.instruction), "");
    EXPECT_GT(peak.per_second, 0.0);
  }
}

}  // namespace
}  // namespace lapidary::kernels
