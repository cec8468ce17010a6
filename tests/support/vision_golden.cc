#include "tests/support/vision_golden.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/json.h"
#include "storage/packed_model.h"
#include "storage/safetensors.h"
#include "storage/synth.h"
#include "tests/support/files.h"

namespace lapidary {
namespace {

constexpr char kFolder[] = "tests/goldens/vision";
constexpr char kNano[] = "deploy/models/nano";
// FNV-1a of "image".
constexpr uint32_t kImageNumber = 0xB35135FAu;

}  // namespace

std::vector<float> ReadGoldenValues(const SafetensorsFile& file,
                                    const std::string& name) {
  for (const SafetensorsEntry& entry : file.entries()) {
    if (entry.name != name) continue;
    std::vector<float> values(entry.elements());
    std::memcpy(values.data(), file.file().data() + entry.offset, entry.bytes);
    return values;
  }
  ADD_FAILURE() << "no golden " << name;
  return {};
}

VisionGolden ReadVisionGolden(const std::string& name) {
  const std::string folder = absl::StrCat(kFolder, "/", name, "/");
  VisionGolden golden;
  golden.name = name;
  const auto json = ParseJson(ReadBytes(folder + "golden.json"), name);
  EXPECT_TRUE(json.ok()) << json.status();
  if (!json->at("seed").is_null()) {
    golden.config_json = ReadBytes(folder + "config.json");
    golden.seed = json->at("seed");
  }
  const auto file = SafetensorsFile::Open(folder + "values.safetensors");
  EXPECT_TRUE(file.ok()) << file.status();
  golden.hard_tokens = ReadGoldenValues(**file, "hard_tokens");
  for (const Json& entry : json->at("cases")) {
    VisionCase& read = golden.cases.emplace_back();
    read.height = entry.at("height");
    read.width = entry.at("width");
    read.features_shape = entry.at("features").get<std::vector<int64_t>>();
    read.soft_tokens_shape =
        entry.at("soft_tokens").get<std::vector<int64_t>>();
    read.features_rms = entry.at("rms")[0];
    read.soft_tokens_rms = entry.at("rms")[1];
    const std::string key = absl::StrCat(read.height, "x", read.width);
    read.features = ReadGoldenValues(**file, key + ".features");
    read.soft_tokens = ReadGoldenValues(**file, key + ".soft_tokens");
    for (const auto& [block, values] : entry.at("blocks").items()) {
      read.blocks[block] = {values[0], values[1]};
    }
  }
  return golden;
}

std::vector<float> GoldenPixels(int64_t height, int64_t width) {
  std::vector<float> pixels(height * width * 3);
  for (size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = SynthValue(kImageNumber, static_cast<uint32_t>(i), 0.5, 0.5);
  }
  return pixels;
}

double LargestDifference(const std::vector<float>& golden,
                         kernels::ConstMatrixView values) {
  const size_t count = values.rows * values.cols;
  const size_t step = std::max<size_t>(1, (count + 4095) / 4096);
  EXPECT_EQ(golden.size(), (count + step - 1) / step);
  double largest = 0;
  for (size_t i = 0; i < golden.size() && i * step < count; ++i) {
    const double difference = std::fabs(values.data[i * step] - golden[i]);
    // Not max, which a NaN would pass.
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

absl::StatusOr<std::shared_ptr<const kernels::vision::VisionWeights>>
PackAndLoadTower(const TempDir& dir, const VisionGolden& golden,
                 kernels::DType dtype) {
  absl::StatusOr<std::string> hf = kNano;
  if (!golden.config_json.empty()) {
    hf = SynthFolder(dir, golden.config_json, golden.seed,
                     kernels::DType::kBf16);
  }
  if (!hf.ok()) return hf.status();
  const auto packed = PackFolder(dir, *hf, dtype);
  if (!packed.ok()) return packed.status();
  PackedModelOptions options;
  options.verify_weights = true;
  const auto model = PackedModel::Open(*packed, options);
  if (!model.ok()) return model.status();
  return (*model)->LoadVision();
}

}  // namespace lapidary
