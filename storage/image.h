// A decoded picture, and how large one may be.
#ifndef LAPIDARY_STORAGE_IMAGE_H_
#define LAPIDARY_STORAGE_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace lapidary {

struct Image {
  int height = 0;
  int width = 0;
  std::vector<uint8_t> rgb;  // [height][width][3]
};

// Whether nobody waits for the picture any more; empty: somebody always does.
// Decoders ask from row to row.
using Unwanted = std::function<bool()>;

// Held against the file's own header before pixels are allocated.
struct ImageLimits {
  // That decoding takes at most for each pixel (a progressive JPEG's
  // coefficients, or a picture that is turned); Image keeps 3 of them.
  static constexpr int64_t kDecodingBytes = 12;

  size_t max_bytes = 32 << 20;  // of the encoded file
  // 50 million is the largest that telephones take without being asked to.
  int64_t max_pixels = 50'000'000;  // height x width
  int max_side = 32768;             // height, and width
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_IMAGE_H_
