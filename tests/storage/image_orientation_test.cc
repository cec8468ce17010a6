// EXIF blocks that say nothing sensible. Those that do, and the turning:
// image_golden_test.cc.
#include "storage/image_orientation.h"

#include <string>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

// A big-endian TIFF file with one entry of this tag, type, count and value.
std::string Exif(char tag_low, char type, char count, char value) {
  const char bytes[] = {'M', 'M',   0,       42, 0,    0, 0, 8, 0,
                        1,   1,     tag_low, 0,  type, 0, 0, 0, count,
                        0,   value, 0,       0,  0,    0, 0, 0};
  return std::string(bytes, sizeof(bytes));
}

TEST(ExifOrientation, IsReadWithAndWithoutItsName) {
  EXPECT_EQ(ExifOrientation(Exif(0x12, 3, 1, 6)), 6);
  EXPECT_EQ(ExifOrientation(std::string("Exif\0\0", 6) + Exif(0x12, 3, 1, 6)),
            6);
}

TEST(ExifOrientation, NotSensible_IsUpright) {
  EXPECT_EQ(ExifOrientation(""), 1);
  EXPECT_EQ(ExifOrientation("II"), 1);
  EXPECT_EQ(ExifOrientation("neither order"), 1);
  EXPECT_EQ(ExifOrientation(Exif(0x13, 3, 1, 6)), 1) << "another tag";
  EXPECT_EQ(ExifOrientation(Exif(0x12, 2, 1, 6)), 1) << "text";
  EXPECT_EQ(ExifOrientation(Exif(0x12, 3, 2, 6)), 1) << "two of them";
  EXPECT_EQ(ExifOrientation(Exif(0x12, 3, 1, 0)), 1);
  EXPECT_EQ(ExifOrientation(Exif(0x12, 3, 1, 9)), 1);
}

TEST(ExifOrientation, DirectoryBeyondTheEnd_IsUpright) {
  const std::string exif = Exif(0x12, 3, 1, 6);
  for (size_t size = 0; size < 20; ++size) {
    EXPECT_EQ(ExifOrientation(exif.substr(0, size)), 1) << size;
  }
  std::string far = exif;
  far.replace(4, 4, "\xFF\xFF\xFF\xFF");
  EXPECT_EQ(ExifOrientation(far), 1);
  std::string many = Exif(0x13, 3, 1, 6);
  many.replace(8, 2, "\xFF\xFF");
  EXPECT_EQ(ExifOrientation(many), 1);
}

}  // namespace
}  // namespace lapidary
