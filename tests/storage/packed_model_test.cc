// A packed model that was damaged, or made by somebody who means harm.
#include "storage/packed_model.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/file_io.h"
#include "storage/json.h"
#include "storage/manifest.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// One model for all tests; each restores what it changes.
class PackedModelTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir();
    const auto hf =
        SynthFolder(*dir_, TinyConfigJson(), 1, kernels::DType::kBf16);
    ASSERT_TRUE(hf.ok()) << hf.status();
    const auto packed = PackFolder(*dir_, *hf, kernels::DType::kBf16);
    ASSERT_TRUE(packed.ok()) << packed.status();
    model_ = new std::string(*packed);
    hf_ = new std::string(*hf);
    manifest_ = new std::string(ReadBytes(*packed + "/manifest.json"));
  }
  static void TearDownTestSuite() {
    delete dir_;
    delete model_;
    delete hf_;
    delete manifest_;
  }
  void TearDown() override {
    WriteBytes(ManifestPath(), *manifest_);
    const absl::Status status = Open(true);
    EXPECT_TRUE(status.ok()) << "not restored: " << status;
  }

  static std::string ManifestPath() { return *model_ + "/manifest.json"; }
  static absl::Status Open(bool verify_weights = false) {
    PackedModelOptions options;
    options.verify_weights = verify_weights;
    return PackedModel::Open(*model_, options).status();
  }
  // What Open says to a manifest with a right checksum and this change.
  static absl::Status OpenWith(const std::function<void(Manifest*)>& change) {
    Manifest manifest = *ParseManifest(*manifest_, "manifest");
    change(&manifest);
    WriteBytes(ManifestPath(), WriteManifest(manifest));
    return Open();
  }
  static std::vector<std::string> WeightFiles() {
    std::vector<std::string> files;
    for (const auto& entry :
         std::filesystem::directory_iterator(*model_ + "/weights")) {
      files.push_back(entry.path().string());
    }
    return files;
  }

  static TempDir* dir_;
  static std::string* model_;
  static std::string* hf_;
  static std::string* manifest_;
};
TempDir* PackedModelTest::dir_;
std::string* PackedModelTest::model_;
std::string* PackedModelTest::hf_;
std::string* PackedModelTest::manifest_;

TEST_F(PackedModelTest, FolderThatIsNoModelSaysWhatToDo) {
  const auto absent = PackedModel::Open(*model_ + "/nothing", {}).status();
  EXPECT_EQ(absent.code(), absl::StatusCode::kNotFound);
  const auto checkpoint = PackedModel::Open(*hf_, {}).status();
  EXPECT_EQ(checkpoint.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(checkpoint.message()),
              HasSubstr("Hugging Face checkpoint; pack it"));
  const auto other = PackedModel::Open(dir_->path(), {}).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(PackedModelTest, EveryBitOfTheManifestIsGuarded) {
  // All bits of some bytes everywhere; all of them would take a minute.
  for (size_t byte = 0; byte < manifest_->size(); byte += 149) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = *manifest_;
      flipped[byte] = static_cast<char>(flipped[byte] ^ (1 << bit));
      const auto parsed = ParseManifest(flipped, "manifest.json");
      ASSERT_EQ(parsed.status().code(), absl::StatusCode::kDataLoss)
          << "byte " << byte << " bit " << bit;
    }
  }
  FlipBit(ManifestPath(), 8 * manifest_->size() / 2);
  EXPECT_EQ(Open().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(Open().message()),
              AllOf(HasSubstr(ManifestPath()), HasSubstr("pack the model")));
}

TEST_F(PackedModelTest, CutOffManifestIsRefused) {
  for (const size_t bytes :
       {size_t{0}, size_t{1}, manifest_->size() / 2, manifest_->size() - 3}) {
    WriteBytes(ManifestPath(), manifest_->substr(0, bytes));
    EXPECT_EQ(Open().code(), absl::StatusCode::kDataLoss) << bytes;
  }
}

TEST_F(PackedModelTest, NewerFormatIsToldApartFromDamage) {
  Json json = *ParseJson(*manifest_, "manifest");
  json.erase("checksum");
  json["format_version"] = kManifestVersion + 1;
  json["checksum"] = Checksum(json.dump());
  WriteBytes(ManifestPath(), json.dump());
  EXPECT_EQ(Open().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(
      std::string(Open().message()),
      HasSubstr(absl::StrCat("format_version is ", kManifestVersion + 1)));
}

TEST_F(PackedModelTest, OlderFormatIsRefusedByName_WithTheRemedy) {
  Json json = *ParseJson(*manifest_, "manifest");
  json.erase("checksum");
  json["format_version"] = 1;
  json["checksum"] = Checksum(json.dump());
  WriteBytes(ManifestPath(), json.dump());
  EXPECT_EQ(Open().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(Open().message()),
              AllOf(HasSubstr("older lapidary"), HasSubstr("format_version 1"),
                    HasSubstr("pack the model again")));
}

TEST_F(PackedModelTest, FlippedBitInAnyWeightFileIsFoundWhenVerifying) {
  for (const std::string& file : WeightFiles()) {
    const uint64_t bits = std::filesystem::file_size(file) * 8;
    for (const uint64_t bit : {uint64_t{0}, bits / 2 + 3, bits - 1}) {
      FlipBit(file, bit);
      const absl::Status status = Open(true);
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << file;
      EXPECT_THAT(std::string(status.message()),
                  AllOf(HasSubstr(file), HasSubstr("checksum")));
      FlipBit(file, bit);
    }
  }
}

TEST_F(PackedModelTest, FlippedBitInACopiedFileIsAlwaysFound) {
  for (const char* name : {"/config.json", "/generation_config.json"}) {
    FlipBit(*model_ + name, 77);
    const absl::Status status = Open();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
    FlipBit(*model_ + name, 77);
  }
}

TEST_F(PackedModelTest, ShorterLongerOrMissingWeightFileIsFound) {
  const std::string file = WeightFiles().front();
  const std::string bytes = ReadBytes(file);
  for (const std::string& other :
       {bytes.substr(0, bytes.size() - 1), bytes + "x", std::string()}) {
    WriteBytes(file, other);
    EXPECT_EQ(Open().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(Open().message()), HasSubstr(file));
  }
  std::filesystem::remove(file);
  EXPECT_EQ(Open().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(Open().message()),
              AllOf(HasSubstr(file), HasSubstr("missing")));
  WriteBytes(file, bytes);
}

TEST_F(PackedModelTest, MissingTableIsFound) {
  const std::string table = *model_ + "/ple";
  std::filesystem::rename(table, *model_ + "/away");
  EXPECT_EQ(Open().code(), absl::StatusCode::kDataLoss);
  std::filesystem::rename(*model_ + "/away", table);
}

TEST_F(PackedModelTest, ManifestCannotLeadOutOfTheFolder) {
  for (const char* path :
       {"../hf-1/config.json", "/etc/passwd", "weights/../../secret.bin",
        "weights/.bin", "weights/sub/a.bin", "ple/CURRENT", ""}) {
    const absl::Status status = OpenWith([&](Manifest* manifest) {
      manifest->files.push_back({path, 1, "0"});
    });
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << path;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("not a packed model's"));
  }
}

TEST_F(PackedModelTest, ManifestThatContradictsConfigOrFilesIsRefused) {
  using Change = std::function<void(Manifest*)>;
  const auto tensor = [](const std::function<void(ManifestTensor*)>& change) {
    return [change](Manifest* manifest) {
      for (ManifestTensor& t : manifest->tensors) {
        if (t.name == "layers.1.mlp.up_proj.weight") change(&t);
      }
    };
  };
  const std::vector<Change> changes = {
      tensor([](ManifestTensor* t) { t->offset += 64; }),
      tensor([](ManifestTensor* t) { t->offset = uint64_t{1} << 40; }),
      tensor([](ManifestTensor* t) { t->offset = (uint64_t{1} << 63) - 4096; }),
      tensor([](ManifestTensor* t) { t->bytes += 1; }),
      tensor([](ManifestTensor* t) { t->bytes = (uint64_t{1} << 63) - 1; }),
      tensor([](ManifestTensor* t) {
        t->shape = {64, 96};
      }),
      tensor([](ManifestTensor* t) { t->shape.clear(); }),
      tensor([](ManifestTensor* t) { t->dtype = kernels::DType::kF32; }),
      tensor(
          [](ManifestTensor* t) { t->use = kernels::text::TensorUse::kPlain; }),
      tensor(
          [](ManifestTensor* t) { t->use = kernels::text::TensorUse::kGemm; }),
      tensor([](ManifestTensor* t) { t->row_blocks = 0; }),
      tensor([](ManifestTensor* t) { t->file = "weights/other.bin"; }),
      tensor([](ManifestTensor* t) { t->file = "config.json"; }),
      tensor([](ManifestTensor* t) { t->name = "other"; }),
      // Begins at the last page of its file and ends after it.
      [&](Manifest* manifest) {
        for (const ManifestFile& file : manifest->files) {
          if (file.path != "weights/layer_001.bin") continue;
          tensor([&](ManifestTensor* t) {
            t->offset = file.bytes / 4096 * 4096;
          })(manifest);
        }
      },
      [](Manifest* manifest) { manifest->tensors.clear(); },
      [](Manifest* manifest) { manifest->files.clear(); },
      [](Manifest* manifest) { manifest->files[0].bytes += 1; },
      [](Manifest* manifest) { manifest->files.push_back(manifest->files[0]); },
      [](Manifest* manifest) { manifest->dtype = kernels::DType::kF32; },
      [](Manifest* manifest) { manifest->ple.tokens += 1; },
      [](Manifest* manifest) { manifest->ple.layers = 0; },
      [](Manifest* manifest) { manifest->ple.width *= 2; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    const absl::Status status = OpenWith(changes[i]);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss)
        << "change " << i << ": " << status;
  }
}

TEST_F(PackedModelTest, UnknownTensorIsNotFound) {
  const auto model = PackedModel::Open(*model_, {});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto tensor = (*model)->Lookup()("layers.6.mlp.up_proj.weight");
  EXPECT_EQ(tensor.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(tensor.status().message()),
              HasSubstr("layers.6.mlp.up_proj.weight"));
}

}  // namespace
}  // namespace lapidary
