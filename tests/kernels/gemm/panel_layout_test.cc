// The panel layout, element by element, as its header draws it.

#include "kernels/gemm/panel_layout.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bf16.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kSizes[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130};

// A number that bf16 does not hold exactly, different for every index.
float Value(int64_t i) { return (i % 2 == 0 ? 1 : -1) * (1 + i * 0.0137f); }

struct Source {
  std::vector<float> f32;
  std::vector<uint16_t> bf16;

  Source(int64_t n, int64_t k) {
    for (int64_t i = 0; i < n * k; ++i) {
      f32.push_back(Value(i));
      bf16.push_back(FloatToBf16(Value(i)));
    }
  }
  const void* data(DType dtype, int64_t index) const {
    return dtype == DType::kF32 ? static_cast<const void*>(&f32[index])
                                : static_cast<const void*>(&bf16[index]);
  }
};

std::shared_ptr<AlignedBuffer> Pack(const Source& source, DType from, int64_t n,
                                    int64_t k, DType to) {
  auto panels = AlignedBuffer::Make(PanelMatrixBytes(to, n, k));
  std::memset(panels->data(), 0xFF, panels->size());  // NaNs
  for (int64_t row = 0; row < n; row += kPanelRows) {
    PackPanel(from, source.data(from, row * k), std::min(kPanelRows, n - row),
              k, to, panels->data() + row / kPanelRows * PanelBytes(to, k));
  }
  return panels;
}

TEST(PanelLayoutTest, SizesAreThoseOfTheHeader) {
  EXPECT_EQ(PaddedPanelDepth(DType::kF32, 1), 16);
  EXPECT_EQ(PaddedPanelDepth(DType::kF32, 16), 16);
  EXPECT_EQ(PaddedPanelDepth(DType::kF32, 17), 32);
  EXPECT_EQ(PaddedPanelDepth(DType::kBf16, 1), 32);
  EXPECT_EQ(PaddedPanelDepth(DType::kBf16, 32), 32);
  EXPECT_EQ(PaddedPanelDepth(DType::kBf16, 33), 64);
  EXPECT_EQ(PanelBytes(DType::kF32, 17), 32u * 64 * 4);
  EXPECT_EQ(PanelBytes(DType::kBf16, 17), 32u * 64 * 2);
  EXPECT_EQ(PanelMatrixBytes(DType::kBf16, 65, 17), 2 * 32u * 64 * 2);
  // E2B's tied head does not fit 32 bits in f32.
  EXPECT_EQ(PanelMatrixBytes(DType::kF32, 262400, 2048),
            size_t{262400} * 2048 * 4);
}

TEST(PanelLayoutTest, F32_IsPanelsOfColumns_WithZeroPadding) {
  for (int64_t n : kSizes) {
    for (int64_t k : kSizes) {
      const Source source(n, k);
      for (DType from : {DType::kF32, DType::kBf16}) {
        const auto panels = Pack(source, from, n, k, DType::kF32);
        const auto* got = reinterpret_cast<const float*>(panels->data());
        const int64_t depth = PaddedPanelDepth(DType::kF32, k);
        for (int64_t row = 0; row < (n + 63) / 64 * 64; ++row) {
          for (int64_t i = 0; i < depth; ++i) {
            float want = 0;
            if (row < n && i < k) {
              want = from == DType::kF32
                         ? source.f32[row * k + i]
                         : Bf16ToFloat(source.bf16[row * k + i]);
            }
            ASSERT_EQ(got[(row / 64 * depth + i) * 64 + row % 64], want)
                << n << "x" << k << " at " << row << ", " << i;
          }
        }
      }
    }
  }
}

TEST(PanelLayoutTest, Bf16_IsPanelsOfPairs_WithZeroPadding) {
  for (int64_t n : kSizes) {
    for (int64_t k : kSizes) {
      const Source source(n, k);
      for (DType from : {DType::kF32, DType::kBf16}) {
        const auto panels = Pack(source, from, n, k, DType::kBf16);
        const auto* got = reinterpret_cast<const uint16_t*>(panels->data());
        const int64_t depth = PaddedPanelDepth(DType::kBf16, k);
        for (int64_t row = 0; row < (n + 63) / 64 * 64; ++row) {
          for (int64_t i = 0; i < depth; ++i) {
            const uint16_t want =
                row < n && i < k ? source.bf16[row * k + i] : 0;
            const int64_t pair = row / 64 * depth / 2 + i / 2;
            ASSERT_EQ(got[(pair * 64 + row % 64) * 2 + i % 2], want)
                << n << "x" << k << " at " << row << ", " << i;
          }
        }
      }
    }
  }
}

TEST(PanelLayoutTest, UnpackRow_GivesEveryRowBack) {
  for (int64_t n : kSizes) {
    for (int64_t k : kSizes) {
      const Source source(n, k);
      for (DType to : {DType::kF32, DType::kBf16}) {
        const auto panels = Pack(source, DType::kF32, n, k, to);
        for (int64_t row = 0; row < n; ++row) {
          std::vector<float> got(k);
          UnpackRow(to, panels->data(), row, k, got.data());
          for (int64_t i = 0; i < k; ++i) {
            ASSERT_EQ(got[i], to == DType::kF32
                                  ? source.f32[row * k + i]
                                  : Bf16ToFloat(source.bf16[row * k + i]));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace lapidary::kernels
