// nano's pictures from their files to soft tokens, against Hugging Face's
// (tests/goldens/nano, in float64).
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/vision/tower.h"
#include "storage/image_decoder.h"
#include "storage/image_resize.h"
#include "storage/json.h"
#include "storage/packed_model.h"
#include "storage/safetensors.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"
#include "tests/support/vision_golden.h"

namespace lapidary {
namespace {

using kernels::ConstMatrixView;

constexpr char kGoldens[] = "tests/goldens/nano/";
constexpr int kSide = 256;  // processor_config.json

// The pictures of a case, in order.
std::vector<std::string> Pictures(const Json& messages) {
  std::vector<std::string> files;
  for (const Json& message : messages) {
    if (!message.at("content").is_array()) continue;
    for (const Json& part : message.at("content")) {
      if (part.at("type") == "image") files.push_back(part.at("file"));
    }
  }
  return files;
}

TEST(NanoPictures, SoftTokens_EqualHuggingFace) {
  const TempDir dir;
  const auto packed =
      PackFolder(dir, "deploy/models/nano", kernels::DType::kF32);
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto model = PackedModel::Open(*packed, {});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto weights = (*model)->LoadVision();
  ASSERT_TRUE(weights.ok()) << weights.status();
  kernels::vision::VisionTower tower(*weights);
  const auto goldens =
      SafetensorsFile::Open(absl::StrCat(kGoldens, "soft_tokens.safetensors"));
  ASSERT_TRUE(goldens.ok()) << goldens.status();
  const auto json =
      ParseJson(ReadBytes(absl::StrCat(kGoldens, "media.json")), "media.json");
  ASSERT_TRUE(json.ok()) << json.status();
  int pictures = 0;
  for (const auto& [name, each] : json->at("cases").items()) {
    const std::vector<std::string> files = Pictures(each.at("messages"));
    if (files.empty()) continue;
    const std::vector<float> want =
        ReadGoldenValues(**goldens, name + ".image");
    size_t at = 0;
    for (const std::string& file : files) {
      const auto image = DecodeImage(
          ReadBytes(absl::StrCat(kGoldens, "media/", file)), ImageLimits());
      ASSERT_TRUE(image.ok()) << image.status();
      const auto pixels = PixelValues(ResizeImage(*image, kSide, kSide));
      ASSERT_TRUE(tower.Encode(kSide, kSide, pixels.data()).ok());
      const ConstMatrixView got = tower.soft_tokens();
      double largest = 0;
      for (int64_t i = 0; i < got.rows * got.cols; ++i, ++at) {
        ASSERT_LT(at, want.size());
        largest = std::max<double>(largest, std::fabs(got.data[i] - want[at]));
        ASSERT_FALSE(std::isnan(got.data[i]));
      }
      // Tokens have a root mean square of 1.
      EXPECT_LE(largest, 1e-3) << name << " " << file;
      std::printf("%s %s: max |Δ| %.1e\n", name.c_str(), file.c_str(), largest);
      ++pictures;
    }
    EXPECT_EQ(at, want.size()) << name;
  }
  EXPECT_EQ(pictures, 13);
}

}  // namespace
}  // namespace lapidary
