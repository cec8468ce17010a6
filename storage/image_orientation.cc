#include "storage/image_orientation.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/strip.h"

namespace lapidary {
namespace {

constexpr uint64_t kOrientationTag = 0x0112;
// TIFF's types of 16 and 32 bits.
constexpr uint64_t kShort = 3;
constexpr uint64_t kLong = 4;

// A TIFF file's numbers, in the byte order that it says; beyond its end, 0.
struct TiffNumbers {
  absl::string_view bytes;
  bool big_endian;

  uint64_t At(uint64_t offset, int count) const {
    if (offset + count > bytes.size()) return 0;
    uint64_t number = 0;
    for (int i = 0; i < count; ++i) {
      const int shift = 8 * (big_endian ? count - 1 - i : i);
      number |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[offset + i]))
                << shift;
    }
    return number;
  }
};

}  // namespace

int ExifOrientation(absl::string_view exif) {
  absl::ConsumePrefix(&exif, absl::string_view("Exif\0\0", 6));
  const absl::string_view order = exif.substr(0, 2);
  if (order != "II" && order != "MM") return 1;
  const TiffNumbers numbers{exif, order == "MM"};
  // The first directory: a count, then entries of tag, type, count, value.
  const uint64_t directory = numbers.At(4, 4);
  const uint64_t entries = numbers.At(directory, 2);
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + 12 * i;
    if (numbers.At(entry, 2) != kOrientationTag) continue;
    const uint64_t type = numbers.At(entry + 2, 2);
    const uint64_t value = numbers.At(entry + 8, type == kLong ? 4 : 2);
    const bool sensible = (type == kShort || type == kLong) &&
                          numbers.At(entry + 4, 4) == 1 && value >= 1 &&
                          value <= 8;
    return sensible ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image Upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const ptrdiff_t width = image.width;
  const ptrdiff_t height = image.height;
  // EXIF names the sides of the scene at which row 0 and column 0 lie.
  const bool transposed = orientation >= 5;
  const bool rows_reversed = orientation == 3 || orientation == 4 ||
                             orientation == 6 || orientation == 7;
  const bool columns_reversed = orientation == 2 || orientation == 3 ||
                                orientation == 7 || orientation == 8;
  // Upright pixel [y][x] lies at first + y * down + x * right.
  const ptrdiff_t first = (rows_reversed ? (height - 1) * width : 0) +
                          (columns_reversed ? width - 1 : 0);
  const ptrdiff_t row_step = rows_reversed ? -width : width;
  const ptrdiff_t column_step = columns_reversed ? -1 : 1;
  const ptrdiff_t down = transposed ? column_step : row_step;
  const ptrdiff_t right = transposed ? row_step : column_step;

  Image upright;
  upright.width = transposed ? image.height : image.width;
  upright.height = transposed ? image.width : image.height;
  upright.rgb.resize(image.rgb.size());
  uint8_t* out = upright.rgb.data();
  for (ptrdiff_t y = 0; y < upright.height; ++y) {
    const uint8_t* in = image.rgb.data() + (first + y * down) * 3;
    for (ptrdiff_t x = 0; x < upright.width; ++x) {
      std::memcpy(out, in + x * right * 3, 3);
      out += 3;
    }
  }
  return upright;
}

}  // namespace lapidary
