// Convolutions against the sum that defines them, for every place that a window
// can have over an edge.
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/bf16.h"
#include "kernels/conv/depthwise.h"
#include "kernels/conv/patches.h"
#include "kernels/conv/window.h"

namespace lapidary::kernels {
namespace {

struct Shape {
  int64_t height, width, channels;
  Window window;
};

std::vector<float> Noise(size_t count, uint32_t seed) {
  std::vector<float> values(count);
  uint32_t state = seed;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(state >> 8) / (1 << 23) - 1.0f;
  }
  return values;
}

// The input under tap (ky, kx) of output (y, x), or 0 outside.
float Tap(const MapView& in, const Window& w, int64_t y, int64_t x, int64_t ky,
          int64_t kx, int64_t c) {
  const int64_t row = y * w.stride + ky - w.Before(in.height);
  const int64_t column = x * w.stride + kx - w.Before(in.width);
  if (row < 0 || row >= in.height || column < 0 || column >= in.width) return 0;
  return in.pixel(row, column)[c];
}

class ConvTest : public testing::TestWithParam<Shape> {};

TEST_P(ConvTest, Depthwise_IsTheSumOverItsWindow) {
  const Shape& s = GetParam();
  const int64_t k = s.window.kernel;
  const auto pixels = Noise(s.height * s.width * s.channels, 1);
  const auto weights = Noise(k * k * s.channels, 2);
  const MapView in(pixels.data(), s.height, s.width, s.channels);
  const int64_t rows = s.window.Outputs(s.height);
  const int64_t columns = s.window.Outputs(s.width);
  std::vector<float> out(rows * columns * s.channels, NAN);
  // In pieces that begin and end within rows.
  for (int64_t first = 0; first < rows * columns; first += 7) {
    const int64_t last = std::min(first + 7, rows * columns);
    Depthwise(in, s.window, weights.data(), {first, last},
              &out[first * s.channels]);
  }
  for (int64_t y = 0; y < rows; ++y) {
    for (int64_t x = 0; x < columns; ++x) {
      for (int64_t c = 0; c < s.channels; ++c) {
        double sum = 0;
        for (int64_t ky = 0; ky < k; ++ky) {
          for (int64_t kx = 0; kx < k; ++kx) {
            sum +=
                static_cast<double>(weights[(ky * k + kx) * s.channels + c]) *
                Tap(in, s.window, y, x, ky, kx, c);
          }
        }
        ASSERT_NEAR(out[(y * columns + x) * s.channels + c], sum, 1e-5)
            << y << " " << x << " " << c;
      }
    }
  }
}

TEST_P(ConvTest, Patches_AreTheWindowsTaps) {
  const Shape& s = GetParam();
  const int64_t k = s.window.kernel;
  const auto pixels = Noise(s.height * s.width * s.channels, 3);
  const MapView in(pixels.data(), s.height, s.width, s.channels);
  const int64_t columns = s.window.Outputs(s.width);
  const int64_t count = s.window.Outputs(s.height) * columns;
  const int64_t row = k * k * s.channels;
  std::vector<float> wide(count * row, NAN);
  std::vector<uint16_t> narrow(count * row, 0x7FC0);
  GatherPatches(in, s.window, {0, count}, DType::kF32, wide.data());
  GatherPatches(in, s.window, {0, count}, DType::kBf16, narrow.data());
  size_t at = 0;
  for (int64_t p = 0; p < count; ++p) {
    for (int64_t ky = 0; ky < k; ++ky) {
      for (int64_t kx = 0; kx < k; ++kx) {
        for (int64_t c = 0; c < s.channels; ++c, ++at) {
          const float tap =
              Tap(in, s.window, p / columns, p % columns, ky, kx, c);
          ASSERT_EQ(wide[at], tap) << p << " " << ky << " " << kx;
          ASSERT_EQ(narrow[at], FloatToBf16(tap)) << p << " " << ky;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, ConvTest,
    testing::Values(Shape{8, 8, 32, {3, 1}}, Shape{8, 12, 20, {3, 2}},
                    Shape{9, 7, 16, {5, 2}}, Shape{5, 6, 3, {5, 1}},
                    Shape{1, 1, 8, {5, 2}}, Shape{2, 3, 33, {7, 1}},
                    Shape{10, 9, 8, {3, 2, Padding::kSymmetric}},
                    Shape{11, 8, 8, {5, 2, Padding::kSymmetric}}));

// gemma3n-vision.md §3.3.
TEST(Window, SamePaddingPutsTheOddZeroBehind) {
  EXPECT_EQ((Window{3, 2}).Before(768), 0);
  EXPECT_EQ((Window{3, 2}).Before(767), 1);
  EXPECT_EQ((Window{5, 2}).Before(192), 1);
  EXPECT_EQ((Window{5, 2}).Before(191), 2);
  EXPECT_EQ((Window{5, 1}).Before(48), 2);
  EXPECT_EQ((Window{3, 2}).Outputs(767), 384);
  EXPECT_EQ((Window{3, 2, Padding::kSymmetric}).Before(768), 1);
}

TEST(Depthwise, ReadsRowsThatLieInARing) {
  constexpr int64_t kHeight = 9, kWidth = 6, kChannels = 16, kRing = 4;
  const Window window = {3, 1};
  const auto pixels = Noise(kHeight * kWidth * kChannels, 4);
  const auto weights = Noise(9 * kChannels, 5);
  const MapView whole(pixels.data(), kHeight, kWidth, kChannels);
  std::vector<float> ring(kRing * kWidth * kChannels);
  for (int64_t y = 4; y < 8; ++y) {  // the rows that outputs 5 and 6 read
    std::copy_n(whole.pixel(y, 0), kWidth * kChannels,
                &ring[y % kRing * kWidth * kChannels]);
  }
  MapView part(ring.data(), kHeight, kWidth, kChannels);
  part.ring_rows = kRing;
  const PixelRange rows = {5 * kWidth, 7 * kWidth};
  std::vector<float> want(rows.count() * kChannels), got(want.size());
  Depthwise(whole, window, weights.data(), rows, want.data());
  Depthwise(part, window, weights.data(), rows, got.data());
  EXPECT_EQ(got, want);
}

}  // namespace
}  // namespace lapidary::kernels
