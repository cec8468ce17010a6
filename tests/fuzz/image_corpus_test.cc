// The fuzz target without a fuzzer: the corpus, and seeded damage to it.
#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fuzz/damage.h"
#include "tests/fuzz/image_fuzz.h"
#include "tests/support/image_goldens.h"

namespace lapidary {
namespace {

constexpr int kDamagesPerFile = 50;
constexpr size_t kLargeFile = 30'000;

std::vector<std::string> Corpus() {
  std::vector<std::string> files;
  for (const Json& golden : ImageGoldens()) {
    std::string bytes = ImageFile(golden["file"].get<std::string>());
    if (bytes.size() < kLargeFile) files.push_back(std::move(bytes));
  }
  return files;
}

bool Try(const std::string& bytes) {
  return DecodeAndResize(reinterpret_cast<const uint8_t*>(bytes.data()),
                         bytes.size());
}

TEST(ImageCorpus, Files_Decode) {
  const std::vector<std::string> files = Corpus();
  ASSERT_GE(files.size(), 50u);
  for (const std::string& file : files) EXPECT_TRUE(Try(file));
}

TEST(ImageCorpus, MendedPng_Decodes) {
  std::string png = ImageFile("png_grey8.png");
  png[30] ^= 1;  // in the checksum of IHDR
  EXPECT_FALSE(Try(png));
  MendPngChecksums(reinterpret_cast<uint8_t*>(png.data()), png.size());
  EXPECT_TRUE(Try(png));
}

TEST(ImageCorpus, DamagedFiles_AreImagesOrErrors) {
  std::mt19937 random(1);
  int images = 0;
  int errors = 0;
  for (const std::string& file : Corpus()) {
    for (int i = 0; i < kDamagesPerFile; ++i) {
      std::string damaged = file;
      Damage(&random, /*header=*/0, &damaged);
      if (i % 2 == 0) {
        MendPngChecksums(reinterpret_cast<uint8_t*>(damaged.data()),
                         damaged.size());
      }
      ++(Try(damaged) ? images : errors);
    }
  }
  EXPECT_GT(images, 100);
  EXPECT_GT(errors, 1000);
}

}  // namespace
}  // namespace lapidary
