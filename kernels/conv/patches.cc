#include "kernels/conv/patches.h"

#include <algorithm>
#include <cstring>

#include "kernels/simd/channel_ops.h"

namespace lapidary::kernels {

void GatherPatches(const MapView& in, const Window& window, PixelRange range,
                   DType type, void* out) {
  const int64_t k = window.kernel, c = in.channels;
  const int64_t width = window.Outputs(in.width);
  const size_t size = SizeOf(type);
  auto* to = static_cast<std::byte*>(out);
  for (int64_t p = range.first; p < range.last; ++p) {
    const int64_t top = p / width * window.stride - window.Before(in.height);
    const int64_t left = p % width * window.stride - window.Before(in.width);
    // The taps of one row that lie inside are neighbours in memory.
    const int64_t first = std::clamp<int64_t>(-left, 0, k);
    const int64_t last = std::clamp<int64_t>(in.width - left, first, k);
    for (int64_t ky = 0; ky < k; ++ky, to += k * c * size) {
      const int64_t y = top + ky;
      if (y < 0 || y >= in.height || first == last) {
        std::memset(to, 0, k * c * size);
        continue;
      }
      std::memset(to, 0, first * c * size);
      Convert(in.pixel(y, left + first), (last - first) * c, type,
              to + first * c * size);
      std::memset(to + last * c * size, 0, (k - last) * c * size);
    }
  }
}

}  // namespace lapidary::kernels
