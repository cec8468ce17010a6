// Images against tests/goldens/image: what Hugging Face's loader and processor
// make of the same files (tests/goldens/README.md).
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/image_decoder.h"
#include "storage/image_resize.h"
#include "storage/json.h"
#include "storage/safetensors.h"
#include "tests/support/image_goldens.h"

namespace lapidary {
namespace {

template <typename T>
std::string Crc(const std::vector<T>& values) {
  char hex[9];
  std::snprintf(hex, sizeof(hex), "%08lx",
                crc32(0, reinterpret_cast<const Bytef*>(values.data()),
                      static_cast<uInt>(values.size() * sizeof(T))));
  return hex;
}

Image Decoded(const Json& golden) {
  auto image =
      DecodeImage(ImageFile(golden["file"].get<std::string>()), ImageLimits());
  EXPECT_TRUE(image.ok()) << image.status();
  return image.ok() ? *image : Image();
}

TEST(ImageGolden, Files_HaveTheLoadersPixels) {
  const Json goldens = ImageGoldens();
  ASSERT_GE(goldens.size(), 50u);
  for (const Json& golden : goldens) {
    SCOPED_TRACE(golden["file"]);
    const Image image = Decoded(golden);
    EXPECT_EQ(Json({image.height, image.width}), golden["shape"]);
    EXPECT_EQ(Crc(image.rgb), golden["decoded"]);
  }
}

TEST(ImageGolden, Resized_HasTheProcessorsPixelsAndFloats) {
  int compared = 0;
  for (const Json& golden : ImageGoldens()) {
    SCOPED_TRACE(golden["file"]);
    const Image image = Decoded(golden);
    if (image.rgb.empty()) continue;
    for (const int size : {256, 512, 768}) {
      const Image resized = ResizeImage(image, size, size);
      const std::string key = std::to_string(size);
      EXPECT_EQ(Crc(resized.rgb), golden["resized"][key]) << size;
      EXPECT_EQ(Crc(PixelValues(resized)), golden["pixel_values"][key]) << size;
      ++compared;
    }
  }
  EXPECT_GE(compared, 150);
}

// How far off, where the checksums above disagree: another version of a
// library may round otherwise, but by no more than this.
TEST(ImageGolden, Thumbnails_AreOffByOneLevelInOneByteOfAThousandAtMost) {
  auto file = SafetensorsFile::Open(ImageGoldenPath("thumbnails.safetensors"));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_GE((*file)->entries().size(), 50u);
  size_t bytes = 0, differ = 0;
  int largest = 0;
  for (const SafetensorsEntry& entry : (*file)->entries()) {
    SCOPED_TRACE(entry.name);
    auto image = DecodeImage(ImageFile(entry.name), ImageLimits());
    ASSERT_TRUE(image.ok()) << image.status();
    const Image thumbnail = ResizeImage(*image, 48, 48);
    ASSERT_EQ(entry.bytes, thumbnail.rgb.size());
    const auto* expected =
        reinterpret_cast<const uint8_t*>((*file)->file().data() + entry.offset);
    for (size_t i = 0; i < entry.bytes; ++i) {
      const int difference = std::abs(thumbnail.rgb[i] - expected[i]);
      largest = std::max(largest, difference);
      differ += difference != 0;
      ++bytes;
    }
  }
  RecordProperty("bytes", std::to_string(bytes));
  RecordProperty("bytes_that_differ", std::to_string(differ));
  EXPECT_LE(largest, 1);
  EXPECT_LE(differ * 1000, bytes) << differ << " of " << bytes;
}

}  // namespace
}  // namespace lapidary
