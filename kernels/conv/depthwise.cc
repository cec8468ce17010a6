#include "kernels/conv/depthwise.h"

#include <algorithm>

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/depthwise.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Taps of neighbouring outputs that read the same weights.
constexpr int64_t kPixels = 4;

// One row of a window, and where it lies in the input: taps [first, last) of
// the kernel's row.
struct TapRow {
  const float* in;       // of tap `first`, of the first pixel
  const float* weights;  // of tap `first`
  int64_t taps;
};

// Channels [c, c + lanes) of `kCount` outputs side by side.
template <int64_t kCount, class D>
HWY_INLINE void Accumulate(D d, const TapRow* rows, int64_t row_count,
                           int64_t channels, int64_t step, int64_t c,
                           float* out) {
  hn::Vec<D> sums[kCount];
  for (auto& sum : sums) sum = hn::Zero(d);
  for (int64_t r = 0; r < row_count; ++r) {
    const float* in = rows[r].in + c;
    const float* weights = rows[r].weights + c;
    for (int64_t tap = 0; tap < rows[r].taps; ++tap) {
      const auto w = hn::LoadU(d, weights + tap * channels);
      for (int64_t p = 0; p < kCount; ++p) {
        sums[p] = hn::MulAdd(w, hn::LoadU(d, in + tap * channels + p * step),
                             sums[p]);
      }
    }
  }
  for (int64_t p = 0; p < kCount; ++p) {
    hn::StoreU(sums[p], d, out + p * channels + c);
  }
}

// All channels of `kCount` outputs side by side.
//   step  between inputs of neighbouring outputs
template <int64_t kCount>
void Outputs(const TapRow* rows, int64_t row_count, int64_t channels,
             int64_t step, float* out) {
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> one;
  const int64_t lanes = hn::Lanes(d);
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) {
    Accumulate<kCount>(d, rows, row_count, channels, step, c, out);
  }
  for (; c < channels; ++c) {
    Accumulate<kCount>(one, rows, row_count, channels, step, c, out);
  }
}

constexpr int64_t kMaxKernel = 7;

// Outputs [x, last) of row y.
void RowOutputs(const MapView& in, const Window& window, const float* weights,
                int64_t y, int64_t x, int64_t last, float* out) {
  const int64_t k = window.kernel, s = window.stride, c = in.channels;
  const int64_t top = y * s - window.Before(in.height);
  const int64_t left_pad = window.Before(in.width);
  const int64_t first_row = std::max<int64_t>(0, -top);
  const int64_t last_row = std::min(k, in.height - top);
  TapRow rows[kMaxKernel];
  while (x < last) {
    const int64_t left = x * s - left_pad;
    const int64_t first_tap = std::max<int64_t>(0, -left);
    const int64_t last_tap = std::min(k, in.width - left);
    // Neighbours with all their taps inside go together.
    const bool inside = first_tap == 0 && x + kPixels <= last &&
                        left + (kPixels - 1) * s + k <= in.width;
    int64_t count = 0;
    for (int64_t ky = first_row; ky < last_row; ++ky) {
      if (last_tap <= first_tap) break;
      rows[count++] = {in.pixel(top + ky, left + first_tap),
                       weights + (ky * k + first_tap) * c,
                       last_tap - first_tap};
    }
    if (inside) {
      Outputs<kPixels>(rows, count, c, s * c, out);
    } else {
      Outputs<1>(rows, count, c, s * c, out);
    }
    const int64_t done = inside ? kPixels : 1;
    x += done;
    out += done * c;
  }
}

void DepthwiseTarget(const MapView& in, const Window& window,
                     const float* weights, PixelRange range, float* out) {
  const int64_t width = window.Outputs(in.width);
  for (int64_t p = range.first; p < range.last;) {
    const int64_t y = p / width, x = p % width;
    const int64_t end = std::min(width, x + range.last - p);
    RowOutputs(in, window, weights, y, x, end, out);
    out += (end - x) * in.channels;
    p += end - x;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(DepthwiseTarget);

void Depthwise(const MapView& in, const Window& window, const float* weights,
               PixelRange range, float* out) {
  HWY_DYNAMIC_DISPATCH(DepthwiseTarget)(in, window, weights, range, out);
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
