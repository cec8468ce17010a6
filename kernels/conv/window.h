// Where the windows of a convolution lie: its kernel, stride and padding along
// one axis (gemma3n-vision.md §3.3). Rows and columns are alike.
#ifndef LAPIDARY_KERNELS_CONV_WINDOW_H_
#define LAPIDARY_KERNELS_CONV_WINDOW_H_

#include <algorithm>
#include <cstdint>

namespace lapidary::kernels {

enum class Padding : uint8_t {
  kSame,  // out = ceil(in / stride), the odd zero goes behind (timm "same")
  kSymmetric,  // (kernel - 1 + stride - 1) / 2 zeros on both sides (timm "")
};

struct Window {
  int64_t kernel = 1;
  int64_t stride = 1;
  Padding padding = Padding::kSame;

  // Outputs along an axis of `in` inputs.
  int64_t Outputs(int64_t in) const {
    if (padding == Padding::kSame) return (in + stride - 1) / stride;
    return (in + 2 * Before(in) - kernel) / stride + 1;
  }
  // Zeros before the first input.
  int64_t Before(int64_t in) const {
    if (padding == Padding::kSymmetric) return (kernel - 1 + stride - 1) / 2;
    return std::max<int64_t>(0, (Outputs(in) - 1) * stride + kernel - in) / 2;
  }
};

// A map of pixels whose rows may lie in a ring: row y at y % ring_rows.
//   data  [ring_rows][width][channels]
struct MapView {
  const float* data = nullptr;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
  int64_t ring_rows = 0;

  MapView() = default;
  MapView(const float* d, int64_t h, int64_t w, int64_t c)
      : data(d), height(h), width(w), channels(c), ring_rows(h) {}

  const float* pixel(int64_t y, int64_t x) const {
    return data + ((y % ring_rows) * width + x) * channels;
  }
};

// Output pixels [first, last) of a map in row-major order, which may begin and
// end within a row.
struct PixelRange {
  int64_t first = 0;
  int64_t last = 0;

  int64_t count() const { return last - first; }
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_CONV_WINDOW_H_
