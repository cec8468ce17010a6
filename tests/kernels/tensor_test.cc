// Tensors, their memory, and bfloat16 as bits.

#include "kernels/tensor.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bf16.h"

namespace lapidary::kernels {
namespace {

float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

TEST(Bf16Test, EveryBf16_SurvivesTheWayToF32AndBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = Bf16ToFloat(bits);
    if (std::isnan(value)) {
      ASSERT_EQ(FloatToBf16(value), bits | 0x40) << bits;  // quiet
    } else {
      ASSERT_EQ(FloatToBf16(value), bits) << bits;
    }
  }
}

TEST(Bf16Test, RoundsToTheNearest_TiesToEven) {
  // Each pair of neighbours, and what lies between them.
  for (uint32_t low = 0; low < 0x7F7F; ++low) {
    const double below = Bf16ToFloat(low), above = Bf16ToFloat(low + 1);
    const double middle = (below + above) / 2;
    const uint32_t even = low % 2 == 0 ? low : low + 1;
    for (uint32_t sign : {0u, 0x8000u}) {
      const auto round = [&](uint32_t low_bits) {
        return FloatToBf16(FromBits((sign | low) << 16 | low_bits));
      };
      ASSERT_EQ(FromBits(low << 16 | 0x8000), middle);
      ASSERT_EQ(round(0x8000), sign | even) << low;
      ASSERT_EQ(round(0x7FFF), sign | low) << low;
      ASSERT_EQ(round(0x8001), sign | (low + 1)) << low;
    }
  }
}

TEST(Bf16Test, ExtremesStayWhatTheyAre) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(FloatToBf16(0.0f), 0x0000);
  EXPECT_EQ(FloatToBf16(-0.0f), 0x8000);
  EXPECT_TRUE(std::signbit(Bf16ToFloat(0x8000)));
  EXPECT_EQ(FloatToBf16(kInf), 0x7F80);
  EXPECT_EQ(FloatToBf16(-kInf), 0xFF80);
  EXPECT_EQ(FloatToBf16(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_EQ(FloatToBf16(FromBits(0x7F7F7FFF)), 0x7F7F);  // the last finite one
  EXPECT_EQ(FloatToBf16(std::numeric_limits<float>::denorm_min()), 0);
}

TEST(Bf16Test, NoNan_BecomesInfinity) {
  for (uint32_t bits : {0x7F800001u, 0x7F80FFFFu, 0x7FC00000u, 0x7FFFFFFFu,
                        0xFF800001u, 0xFFFFFFFFu}) {
    const uint16_t rounded = FloatToBf16(FromBits(bits));
    EXPECT_TRUE(std::isnan(Bf16ToFloat(rounded))) << std::hex << bits;
    EXPECT_EQ(rounded >> 15, bits >> 31);
  }
}

TEST(AlignedBufferTest, IsAligned_AndWritableToItsLastByte) {
  for (size_t size : {0, 1, 63, 64, 65, 4096, 1000003}) {
    const auto buffer = AlignedBuffer::Make(size);
    ASSERT_NE(buffer, nullptr);
    EXPECT_EQ(buffer->size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
    if (size > 0) std::memset(buffer->data(), 0xA5, size);
  }
}

TEST(AlignedBufferTest, SizeThatOverflowsTheRounding_IsNull) {
  constexpr size_t kMost = std::numeric_limits<size_t>::max();
  for (size_t size : {kMost, kMost - 62, kMost - 63}) {
    EXPECT_EQ(AlignedBuffer::Make(size), nullptr) << size;
  }
}

TEST(DTypeTest, EveryOne_HasAName_AndTensorsOnesASize) {
  EXPECT_EQ(SizeOf(DType::kF32), 4u);
  EXPECT_EQ(SizeOf(DType::kBf16), 2u);
  EXPECT_EQ(SizeOf(DType::kI32), 4u);
  EXPECT_STREQ(NameOf(DType::kF32), "f32");
  EXPECT_STREQ(NameOf(DType::kBf16), "bf16");
  EXPECT_STREQ(NameOf(DType::kI32), "i32");
  // Quantised: no bytes of one element.
  EXPECT_EQ(SizeOf(DType::kInt8), 0u);
  EXPECT_EQ(SizeOf(DType::kInt4), 0u);
  EXPECT_STREQ(NameOf(DType::kInt8), "int8");
  EXPECT_STREQ(NameOf(DType::kInt4), "int4");
  for (int other : {0, 6, 255}) {
    EXPECT_EQ(SizeOf(static_cast<DType>(other)), 0u);
    EXPECT_STREQ(NameOf(static_cast<DType>(other)), "unknown");
  }
}

TEST(TensorTest, KnowsItsShape_AndKeepsItsBufferAlive) {
  auto buffer = AlignedBuffer::Make(3 * 10 * 4 * 2);
  std::weak_ptr<AlignedBuffer> alive = buffer;
  {
    Tensor tensor(DType::kBf16, {3, 10, 4}, std::move(buffer));
    const Tensor copy = tensor;
    tensor = Tensor();
    EXPECT_FALSE(alive.expired());
    EXPECT_FALSE(copy.empty());
    EXPECT_EQ(copy.dim(1), 10);
    EXPECT_EQ(copy.elements(), 120);
    EXPECT_EQ(copy.bytes(), 240u);
    EXPECT_EQ(copy.ToString(), "bf16 [3, 10, 4]");
    EXPECT_EQ(copy.data<uint16_t>(), copy.raw());
  }
  EXPECT_TRUE(alive.expired());
}

TEST(TensorTest, ViewKeepsItsOwnerAlive) {
  auto owner = std::make_shared<std::vector<float>>(6, 1.5f);
  std::weak_ptr<std::vector<float>> alive = owner;
  Tensor view(DType::kF32, {2, 3}, owner->data(), owner);
  owner.reset();
  EXPECT_EQ(view.data<float>()[5], 1.5f);
  view = Tensor();
  EXPECT_TRUE(alive.expired());
}

TEST(TensorTest, EmptyOnes_HaveNoElements_AndAScalarHasOne) {
  EXPECT_TRUE(Tensor().empty());
  EXPECT_EQ(Tensor().elements(), 0);
  EXPECT_EQ(Tensor().bytes(), 0u);
  EXPECT_EQ(Tensor().ToString(), "f32 []");
  const float value = 1;
  EXPECT_EQ(Tensor(DType::kF32, {}, &value, nullptr).elements(), 1);
  EXPECT_EQ(Tensor(DType::kF32, {4, 0, 3}, &value, nullptr).elements(), 0);
}

TEST(MatrixViewTest, RowsFollowOneAnother) {
  std::vector<float> data = {1, 2, 3, 4, 5, 6};
  const MatrixView view{data.data(), 2, 3};
  view.row(1)[2] = 7;
  const ConstMatrixView same = view;
  EXPECT_EQ(same.row(1), data.data() + 3);
  EXPECT_EQ(same.row(0)[5], 7);
}

}  // namespace
}  // namespace lapidary::kernels
