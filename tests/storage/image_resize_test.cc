// Shapes at the edge of what ResizeImage takes. Ordinary ones, bit by bit:
// image_golden_test.cc.
#include "storage/image_resize.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

Image OneColor(int height, int width) {
  Image image;
  image.height = height;
  image.width = width;
  for (int i = 0; i < height * width; ++i) {
    image.rgb.insert(image.rgb.end(), {0, 100, 255});
  }
  return image;
}

TEST(ResizeImage, OneColor_StaysItAtEveryShape) {
  const struct {
    int height, width;
  } shapes[] = {{1, 1}, {1, 32'768}, {32'768, 1},
                {2, 3}, {300, 300},  {769, 767}};
  for (const auto& from : shapes) {
    for (const auto& to : {shapes[0], shapes[3], shapes[4]}) {
      SCOPED_TRACE(testing::Message()
                   << from.height << " x " << from.width << " to " << to.height
                   << " x " << to.width);
      const Image resized =
          ResizeImage(OneColor(from.height, from.width), to.height, to.width);
      EXPECT_EQ(resized.height, to.height);
      EXPECT_EQ(resized.width, to.width);
      EXPECT_EQ(resized.rgb, OneColor(to.height, to.width).rgb);
    }
  }
}

TEST(ResizeImage, SameSize_IsTheSameImage) {
  Image image = OneColor(5, 7);
  for (size_t i = 0; i < image.rgb.size(); ++i) {
    image.rgb[i] = static_cast<uint8_t>(i * 37);
  }
  EXPECT_EQ(ResizeImage(image, 5, 7).rgb, image.rgb);
}

// The columns of one row halved: the middle outputs have taps of 1/8, 3/8,
// 3/8 and 1/8; the outer ones lack the tap beyond the edge.
TEST(ResizeImage, HalvedColumns_AreTheTriangleFilters) {
  Image image;
  image.height = 1;
  image.width = 8;
  for (const int value : {0, 70, 0, 80, 160, 0, 0, 7}) {
    image.rgb.insert(image.rgb.end(), 3, static_cast<uint8_t>(value));
  }
  const Image halved = ResizeImage(image, 1, 4);
  EXPECT_EQ(halved.rgb, (std::vector<uint8_t>{30, 30, 30, 59, 59, 59, 70, 70,
                                              70, 3, 3, 3}));
}

TEST(PixelValues, Bytes_AreMultipliedByTheFloatOfOneTwoHundredFiftyFifth) {
  Image image = OneColor(1, 1);
  EXPECT_EQ(PixelValues(image),
            (std::vector<float>{0.0f, 100 * 0.003921569f, 1.0f}));
}

}  // namespace
}  // namespace lapidary
