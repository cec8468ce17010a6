// Checkpoints as they may arrive: in shards, under other prefixes, with
// tensors too many, too few or wrong.
#include "storage/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/checkpoint_check.h"
#include "storage/json.h"
#include "storage/model_config.h"
#include "storage/synth.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr char kUp[] = "model.layers.0.mlp.up_proj.weight";

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() {
    folder_ = *SynthFolder(dir_, TinyConfigJson(), 1, kernels::DType::kBf16);
    file_ = folder_ + "/model.safetensors";
  }

  // Changes the header of the single file; data may be appended.
  void Edit(const std::function<void(Json*)>& edit,
            const std::string& more_data = "") {
    const std::string bytes = ReadBytes(file_);
    uint64_t length = 0;
    for (int i = 7; i >= 0; --i) {
      length = length << 8 | static_cast<unsigned char>(bytes[i]);
    }
    Json header = *ParseJson(bytes.substr(8, length), "header");
    edit(&header);
    WriteBytes(file_, Safetensors(header.dump(),
                                  bytes.substr(8 + length) + more_data));
  }
  // Bytes of tensor data in the file.
  uint64_t DataBytes() {
    uint64_t end = 0;
    Edit([&](Json* header) {
      for (const auto& [name, tensor] : header->items()) {
        if (name == "__metadata__") continue;
        end = std::max(end, tensor["data_offsets"][1].get<uint64_t>());
      }
    });
    return end;
  }
  // Adds a tensor with these bytes.
  void Add(const std::string& name, const std::string& dtype,
           const std::vector<int64_t>& shape, const std::string& data) {
    const uint64_t begin = DataBytes();
    Edit(
        [&](Json* header) {
          (*header)[name] = {{"dtype", dtype},
                             {"shape", shape},
                             {"data_offsets", {begin, begin + data.size()}}};
        },
        data);
  }
  void Rename(const std::string& from, const std::string& to) {
    Edit([&](Json* header) {
      (*header)[to] = (*header)[from];
      header->erase(from);
    });
  }

  absl::Status Check() {
    const auto config = ReadModelConfig(folder_);
    if (!config.ok()) return config.status();
    const auto checkpoint = Checkpoint::Open(folder_);
    if (!checkpoint.ok()) return checkpoint.status();
    return CheckTensors(config->text, **checkpoint);
  }
  std::string Message() { return std::string(Check().message()); }
  std::string TensorBytes(const std::string& name) {
    const auto checkpoint = Checkpoint::Open(folder_);
    const CheckpointTensor* tensor = (*checkpoint)->Find(name);
    return std::string(reinterpret_cast<const char*>(tensor->file->data()) +
                           tensor->entry.offset,
                       tensor->entry.bytes);
  }

  TempDir dir_;
  std::string folder_;
  std::string file_;
};

TEST_F(CheckpointTest, SynthsCheckpointIsComplete) {
  EXPECT_TRUE(Check().ok()) << Check();
}

TEST_F(CheckpointTest, EveryPrefixIsStripped) {
  EXPECT_EQ(StripTensorPrefix("model.language_model.norm.weight"),
            "norm.weight");
  EXPECT_EQ(StripTensorPrefix("language_model.model.norm.weight"),
            "norm.weight");
  EXPECT_EQ(StripTensorPrefix("model.norm.weight"), "norm.weight");
  EXPECT_EQ(StripTensorPrefix("language_model.lm_head.weight"),
            "lm_head.weight");
  EXPECT_EQ(StripTensorPrefix("model.vision_tower.a"), "vision_tower.a");
  Rename(kUp, "model.language_model.layers.0.mlp.up_proj.weight");
  EXPECT_TRUE(Check().ok()) << Check();
}

TEST_F(CheckpointTest, MissingTensorIsNamed) {
  Rename(kUp, "model.vision_tower.stray");
  EXPECT_THAT(Message(), AllOf(HasSubstr("layers.0.mlp.up_proj.weight"),
                               HasSubstr("missing")));
}

TEST_F(CheckpointTest, UnexpectedTensorIsNamed) {
  Add("model.layers.9.mlp.up_proj.weight", "BF16", {1}, "ab");
  EXPECT_THAT(Message(), AllOf(HasSubstr("model.layers.9.mlp.up_proj.weight"),
                               HasSubstr("no such tensors")));
}

TEST_F(CheckpointTest, WrongShapeIsNamedWithBothShapes) {
  Edit([](Json* header) { (*header)[kUp]["shape"] = {64, 96}; });
  EXPECT_THAT(Message(),
              AllOf(HasSubstr("layers.0.mlp.up_proj.weight: BF16 [64, 96]"),
                    HasSubstr("config.json says [96, 64]"),
                    HasSubstr("model.safetensors")));
}

TEST_F(CheckpointTest, WrongTypeIsNamed) {
  Edit([](Json* header) { (*header)[kUp]["dtype"] = "I16"; });
  EXPECT_THAT(Message(), AllOf(HasSubstr("layers.0.mlp.up_proj.weight: I16"),
                               HasSubstr("want BF16, F16 or F32")));
}

TEST_F(CheckpointTest, OneTensorUnderTwoNamesIsRefused) {
  Add("model.language_model.norm.weight", "BF16", {64}, std::string(128, '\0'));
  EXPECT_THAT(Message(), AllOf(HasSubstr("norm.weight is there twice"),
                               HasSubstr("model.language_model.norm.weight")));
}

TEST_F(CheckpointTest, DeadTensorsAndTowersAreLetPass) {
  Add("model.layers.4.self_attn.k_proj.weight", "BF16", {32, 64},
      std::string(4096, 'k'));
  Add("model.layers.4.self_attn.k_norm.weight", "BF16", {16},
      std::string(32, 'k'));
  Add("model.vision_tower.timm_model.conv.weight", "BF16", {3}, "vvvvvv");
  Add("model.embed_vision.embedding.weight", "BF16", {2}, "vvvv");
  Add("model.audio_tower.buffer", "I64", {1}, "aaaaaaaa");
  EXPECT_TRUE(Check().ok()) << Check();
  const auto checkpoint = Checkpoint::Open(folder_);
  const ParameterCounts counts = (*checkpoint)->CountParameters();
  EXPECT_EQ(counts.vision, 5);
  EXPECT_EQ(counts.audio, 1);
  EXPECT_EQ(counts.ple, 300 * 6 * 8);
}

TEST_F(CheckpointTest, KeysOfALayerThatOwnsThemAreNotDead) {
  Rename("model.layers.2.self_attn.k_proj.weight",
         "model.layers.4.self_attn.k_proj.weight");
  EXPECT_THAT(Message(), HasSubstr("layers.2.self_attn.k_proj.weight"));
}

TEST_F(CheckpointTest, ExplicitHeadMustEqualTheEmbedding) {
  const std::string embedding = TensorBytes("embed_tokens.weight");
  Add("lm_head.weight", "BF16", {320, 64}, embedding);
  EXPECT_TRUE(Check().ok()) << Check();
  // The last bit of the last element.
  FlipBit(file_, std::filesystem::file_size(file_) * 8 - 1);
  EXPECT_THAT(Message(), AllOf(HasSubstr("lm_head.weight"),
                               HasSubstr("differs from embed_tokens")));
}

TEST_F(CheckpointTest, ExplicitHeadOfAnotherShapeIsRefused) {
  Add("lm_head.weight", "BF16", {1, 64}, std::string(128, 'h'));
  EXPECT_THAT(Message(), HasSubstr("lm_head.weight"));
}

TEST_F(CheckpointTest, PleTableMayHaveMoreRowsButNotFewer) {
  const std::string name = "model.embed_tokens_per_layer.weight";
  std::string table = TensorBytes("embed_tokens_per_layer.weight");
  Rename(name, "model.vision_tower.stray");
  Add(name, "BF16", {320, 48}, table + std::string(20 * 96, 'x'));
  EXPECT_TRUE(Check().ok()) << Check();
  Rename(name, "model.vision_tower.stray2");
  Add(name, "BF16", {299, 48}, table.substr(96));
  EXPECT_THAT(Message(), AllOf(HasSubstr("embed_tokens_per_layer.weight"),
                               HasSubstr("[299, 48]")));
}

TEST_F(CheckpointTest, FolderWithoutWeightsSaysWhatToGive) {
  std::filesystem::remove(file_);
  EXPECT_EQ(Check().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(), HasSubstr("model.safetensors.index.json"));
}

class ShardsTest : public testing::Test {
 protected:
  ShardsTest() {
    SynthOptions options;
    options.config_json = TinyConfigJson();
    options.target = folder_;
    options.shard_bytes = 200'000;
    EXPECT_TRUE(Synthesize(options).ok());
    index_ = *ParseJson(ReadBytes(index_path_), "index");
  }
  absl::Status Open() { return Checkpoint::Open(folder_).status(); }
  // Open with one entry of weight_map changed; null takes it out.
  std::string MessageWith(const std::string& tensor, const Json& shard) {
    Json index = index_;
    if (shard.is_null()) {
      index["weight_map"].erase(tensor);
    } else {
      index["weight_map"][tensor] = shard;
    }
    WriteBytes(index_path_, index.dump());
    return std::string(Open().message());
  }

  TempDir dir_;
  const std::string folder_ = dir_.File("hf");
  const std::string index_path_ = folder_ + "/model.safetensors.index.json";
  Json index_;
};

TEST_F(ShardsTest, AllShardsTogetherAreOneCheckpoint) {
  EXPECT_TRUE(Open().ok()) << Open();
}

TEST_F(ShardsTest, MissingShardIsNamed) {
  const std::string shard = index_["weight_map"][kUp];
  std::filesystem::remove(folder_ + "/" + shard);
  EXPECT_EQ(Open().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Open().message()),
              AllOf(HasSubstr(shard), HasSubstr("is missing")));
}

TEST_F(ShardsTest, TensorMissingFromItsShardIsNamed) {
  const std::string other =
      index_["weight_map"]["model.layers.5.mlp.up_proj.weight"];
  ASSERT_NE(index_["weight_map"][kUp], other);
  EXPECT_THAT(MessageWith(kUp, other), AllOf(HasSubstr(kUp), HasSubstr(other)));
  EXPECT_THAT(MessageWith("model.nothing", other), HasSubstr("model.nothing"));
}

TEST_F(ShardsTest, TensorMissingFromTheIndexIsNamed) {
  EXPECT_THAT(MessageWith(kUp, nullptr),
              AllOf(HasSubstr(kUp), HasSubstr("not in")));
}

TEST_F(ShardsTest, ShardNamesMayNotLeaveTheFolder) {
  for (const Json& shard :
       {Json("../secret.safetensors"), Json("/etc/passwd"), Json("sub/x"),
        Json(std::string("a\0.safetensors", 14)), Json(""), Json(7)}) {
    EXPECT_THAT(MessageWith(kUp, shard), HasSubstr("weight_map puts")) << shard;
  }
}

TEST_F(ShardsTest, BrokenIndexIsRefused) {
  for (const char* text : {"{", "[]", "{}", "{\"weight_map\": 3}"}) {
    WriteBytes(index_path_, text);
    EXPECT_EQ(Open().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(RowReader, EveryHalfPrecisionNumberIsReadExactly) {
  TempDir dir;
  std::string data;
  for (int bits = 0; bits < 65536; ++bits) {
    data.push_back(static_cast<char>(bits & 0xFF));
    data.push_back(static_cast<char>(bits >> 8));
  }
  WriteBytes(dir.File("model.safetensors"),
             Safetensors(R"({"h": {"dtype": "F16", "shape": [65536],
                                   "data_offsets": [0, 131072]}})",
                         data));
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  RowReader reader(*(*checkpoint)->Find("h"));
  ASSERT_EQ(reader.dtype(), kernels::DType::kF32);
  const auto* values = static_cast<const float*>(reader.Read(0, 65536));
  EXPECT_EQ(values[0x0000], 0.0f);
  EXPECT_TRUE(std::signbit(values[0x8000]));
  EXPECT_EQ(values[0x0001], std::ldexp(1.0f, -24));
  EXPECT_EQ(values[0x83FF], -1023 * std::ldexp(1.0f, -24));
  EXPECT_EQ(values[0x0400], std::ldexp(1.0f, -14));
  EXPECT_EQ(values[0x3C00], 1.0f);
  EXPECT_EQ(values[0x3555], 0.333251953125f);
  EXPECT_EQ(values[0x7BFF], 65504.0f);
  EXPECT_EQ(values[0xFC00], -INFINITY);
  EXPECT_TRUE(std::isnan(values[0x7E00]));
}

TEST(RowReader, RowsAtOddAddressesAreAligned) {
  TempDir dir;
  const float numbers[] = {1.5f, -2.0f, 3.25f, 4.0f};
  std::string data = "x";
  data.append(reinterpret_cast<const char*>(numbers), sizeof(numbers));
  WriteBytes(dir.File("model.safetensors"),
             Safetensors(R"({"a": {"dtype": "U8", "shape": [1],
                                   "data_offsets": [0, 1]},
                             "w": {"dtype": "F32", "shape": [2, 2],
                                   "data_offsets": [1, 17]}})",
                         data));
  const auto checkpoint = Checkpoint::Open(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  RowReader reader(*(*checkpoint)->Find("w"));
  for (int row = 0; row < 2; ++row) {
    const void* read = reader.Read(row, 1);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(read) % sizeof(float), 0u);
    EXPECT_EQ(static_cast<const float*>(read)[0], numbers[2 * row]);
    EXPECT_EQ(static_cast<const float*>(read)[1], numbers[2 * row + 1]);
  }
}

}  // namespace
}  // namespace lapidary
