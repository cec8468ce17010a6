// The tower of a checkpoint on its way into a packed model: what is wrong with
// it is named before anything is written, and a model without one stays whole.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/vision/weights.h"
#include "storage/checkpoint.h"
#include "storage/json.h"
#include "storage/model_files.h"
#include "storage/packed_model.h"
#include "storage/tensor_groups.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using kernels::DType;
using testing::HasSubstr;

constexpr char kStem[] = "model.vision_tower.timm_model.conv_stem.conv.weight";
constexpr char kBias[] = "model.vision_tower.timm_model.conv_stem.conv.bias";

std::string ConfigJson() {
  return ReadBytes("tests/goldens/vision/every_block/config.json");
}

class VisionPackTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto made = SynthFolder(dir_, ConfigJson(), 11, DType::kBf16);
    ASSERT_TRUE(made.ok()) << made.status();
    checkpoint_ = *made;
  }

  // Changes the checkpoint's header, whose tensors stay where they are.
  template <typename Change>
  void ChangeHeader(const Change& change) {
    const std::string path = checkpoint_ + "/model.safetensors";
    const std::string bytes = ReadBytes(path);
    size_t length = 0;
    for (int i = 7; i >= 0; --i) {
      length = length << 8 | static_cast<unsigned char>(bytes[i]);
    }
    auto header = nlohmann::ordered_json::parse(bytes.substr(8, length));
    change(&header);
    WriteBytes(path, Safetensors(header.dump(), bytes.substr(8 + length)));
  }

  void Rename(const std::string& from, const std::string& to) {
    ChangeHeader([&](nlohmann::ordered_json* header) {
      const auto entry = header->at(from);
      header->erase(from);
      (*header)[to] = entry;
    });
  }

  std::string PackError() {
    return std::string(
        PackFolder(dir_, checkpoint_, DType::kBf16).status().message());
  }

  TempDir dir_;
  std::string checkpoint_;
};

TEST_F(VisionPackTest, Tower_HasAFileAndAGroup) {
  for (const DType dtype :
       {DType::kF32, DType::kBf16, DType::kInt8, DType::kInt4}) {
    const auto packed = PackFolder(dir_, checkpoint_, dtype);
    ASSERT_TRUE(packed.ok()) << packed.status();
    const auto model = PackedModel::Open(*packed, {});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_TRUE((*model)->has_vision_tower());
    EXPECT_EQ((*model)->vision_bytes(),
              ReadBytes(*packed + "/" + kVisionFile).size());
    const auto groups = (*model)->groups();
    const DType want = dtype == DType::kF32 ? DType::kF32 : DType::kBf16;
    EXPECT_TRUE(std::any_of(groups.begin(), groups.end(), [&](const auto& g) {
      return g.name == "vision tower" && g.dtype == want && g.bytes > 0;
    }));
    const auto weights = (*model)->LoadVision();
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_EQ((*weights)->conv_stem.dtype(), want);
  }
}

// The tower outlives the model that it was loaded from.
TEST_F(VisionPackTest, LoadedWeights_StayAsLongAsTheirPointer) {
  const auto packed = PackFolder(dir_, checkpoint_, DType::kF32);
  std::shared_ptr<const kernels::vision::VisionWeights> weights;
  {
    const auto model = PackedModel::Open(*packed, {});
    ASSERT_TRUE(model.ok()) << model.status();
    weights = *(*model)->LoadVision();
  }
  const auto checkpoint = Checkpoint::Open(checkpoint_);
  const CheckpointTensor* norm =
      (*checkpoint)->Find("vision_tower.timm_model.msfa.norm.weight");
  RowReader reader(*norm);
  const auto* bits = static_cast<const uint16_t*>(reader.Read(0, norm->rows()));
  for (int64_t i = 0; i < norm->rows(); ++i) {
    uint32_t wide = static_cast<uint32_t>(bits[i]) << 16;
    float value;
    std::memcpy(&value, &wide, sizeof(value));
    EXPECT_EQ(weights->msfa_norm[i], value);
  }
}

TEST_F(VisionPackTest, TextOnlyCheckpoint_KeepsItsVisionConfig) {
  ChangeHeader([](nlohmann::ordered_json* header) {
    nlohmann::ordered_json text;
    for (const auto& [name, entry] : header->items()) {
      if (!absl::StrContains(name, "vision")) text[name] = entry;
    }
    *header = text;
  });
  // The tower's bytes lie behind the decoder's.
  const std::string path = checkpoint_ + "/model.safetensors";
  std::string bytes = ReadBytes(path);
  size_t length = 0, end = 0;
  for (int i = 7; i >= 0; --i) {
    length = length << 8 | static_cast<unsigned char>(bytes[i]);
  }
  const auto header = Json::parse(bytes.substr(8, length));
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      end = std::max(end, entry["data_offsets"][1].get<size_t>());
    }
  }
  WriteBytes(path, bytes.substr(0, 8 + length + end));

  const auto packed = PackFolder(dir_, checkpoint_, DType::kBf16);
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto model = PackedModel::Open(*packed, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_FALSE((*model)->has_vision_tower());
  const auto weights = (*model)->LoadVision();
  EXPECT_EQ(weights.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(weights.status().message()),
              HasSubstr("no vision tower"));
}

TEST_F(VisionPackTest, MissingTensor_IsNamed) {
  Rename(kStem, "model.audio_tower.stray");
  EXPECT_THAT(PackError(), HasSubstr("conv_stem.conv.weight: missing"));
}

TEST_F(VisionPackTest, ObsoleteTower_IsRefusedAsThat) {
  Rename(kBias, "model.audio_tower.stray");
  EXPECT_THAT(PackError(), HasSubstr("obsolete"));
}

TEST_F(VisionPackTest, UnexpectedTensor_IsNamed) {
  // One more than the tower has: the audio tower has none to be renamed.
  ChangeHeader([](nlohmann::ordered_json* header) {
    (*header)["model.vision_tower.timm_model.stray"] = {
        {"dtype", "BF16"}, {"shape", {0}}, {"data_offsets", {0, 0}}};
  });
  EXPECT_THAT(PackError(), HasSubstr("timm_model.stray"));
}

TEST_F(VisionPackTest, WrongShape_IsNamedWithTheRightOne) {
  ChangeHeader([](nlohmann::ordered_json* header) {
    (*header)[kStem]["shape"] = {8, 27};
  });
  const std::string error = PackError();
  EXPECT_THAT(error, HasSubstr("conv_stem.conv.weight"));
  EXPECT_THAT(error, HasSubstr("[8, 3, 3, 3]"));
}

TEST_F(VisionPackTest, TowerOfAnotherKind_IsRefusedByName) {
  Json config = Json::parse(ConfigJson());
  config["vision_config"]["architecture"] = "resnet50";
  WriteBytes(checkpoint_ + "/config.json", config.dump());
  EXPECT_THAT(PackError(), HasSubstr("resnet50"));
}

TEST_F(VisionPackTest, DamagedFile_IsNamedAtOpen) {
  const auto packed = PackFolder(dir_, checkpoint_, DType::kBf16);
  const std::string path = *packed + "/" + kVisionFile;
  const std::string bytes = ReadBytes(path);
  WriteBytes(path, bytes.substr(0, bytes.size() - 1));
  EXPECT_THAT(std::string(PackedModel::Open(*packed, {}).status().message()),
              HasSubstr("vision.bin"));
  WriteBytes(path, bytes);
  FlipBit(path, 80001);
  PackedModelOptions verify;
  verify.verify_weights = true;
  EXPECT_THAT(
      std::string(PackedModel::Open(*packed, verify).status().message()),
      HasSubstr("vision.bin"));
}

}  // namespace
}  // namespace lapidary
