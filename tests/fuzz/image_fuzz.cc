#include "tests/fuzz/image_fuzz.h"

#include <zlib.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "storage/image_decoder.h"
#include "storage/image_resize.h"

namespace lapidary {
namespace {

constexpr size_t kPngSignatureBytes = 8;

// Small, for many inputs a second.
ImageLimits FuzzLimits() {
  ImageLimits limits;
  limits.max_bytes = 1 << 20;
  limits.max_pixels = 1 << 16;
  limits.max_side = 2048;
  return limits;
}

void Require(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

bool HasPixels(const Image& image) {
  return image.height > 0 && image.width > 0 &&
         image.rgb.size() == size_t{3} * image.height * image.width;
}

uint32_t LoadBigEndian(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 |
         uint32_t{bytes[2]} << 8 | bytes[3];
}

void StoreBigEndian(uint32_t number, uint8_t* bytes) {
  for (int i = 0; i < 4; ++i) {
    bytes[i] = static_cast<uint8_t>(number >> (24 - 8 * i));
  }
}

}  // namespace

bool DecodeAndResize(const uint8_t* data, size_t size) {
  const ImageLimits limits = FuzzLimits();
  const auto image =
      DecodeImage({reinterpret_cast<const char*>(data), size}, limits);
  if (!image.ok()) {
    Require(!image.status().message().empty(), "an error says what is wrong");
    Require(absl::IsInvalidArgument(image.status()),
            "bad input is INVALID_ARGUMENT");
    return false;
  }
  Require(HasPixels(*image), "an image has all of its pixels");
  Require(int64_t{image->height} * image->width <= limits.max_pixels &&
              image->height <= limits.max_side &&
              image->width <= limits.max_side,
          "an image is within the limits");
  // Other sizes for other inputs, the same for the same.
  const int height = 1 + static_cast<int>(size % 97);
  const int width = 1 + static_cast<int>(size % 61);
  const Image resized = ResizeImage(*image, height, width);
  Require(
      HasPixels(resized) && resized.height == height && resized.width == width,
      "a resized image has the size asked for");
  for (const float value : PixelValues(resized)) {
    Require(value >= 0 && value <= 1, "a pixel's value is in [0, 1]");
  }
  return true;
}

void MendPngChecksums(uint8_t* data, size_t size) {
  if (size < kPngSignatureBytes || std::memcmp(data, "\x89PNG", 4) != 0) return;
  size_t at = kPngSignatureBytes;
  // Length, name, content, checksum of name and content.
  while (size - at >= 12) {
    const size_t length = LoadBigEndian(data + at);
    if (length > size - at - 12) return;
    const uint8_t* const name = data + at + 4;
    StoreBigEndian(
        static_cast<uint32_t>(crc32(0, name, static_cast<uInt>(length + 4))),
        data + at + 8 + length);
    at += length + 12;
  }
}

}  // namespace lapidary
