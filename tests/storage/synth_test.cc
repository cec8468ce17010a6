#include "storage/synth.h"

#include <cstring>
#include <filesystem>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/bf16.h"
#include "storage/checkpoint.h"
#include "storage/json.h"
#include "storage/model_config.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using kernels::DType;
using testing::HasSubstr;

SynthOptions TinyOptions(const std::string& target) {
  SynthOptions options;
  options.config_json = TinyConfigJson();
  options.target = target;
  return options;
}

// The file's bytes of a tensor.
std::string Bytes(const Checkpoint& checkpoint, const std::string& name) {
  const CheckpointTensor* tensor = checkpoint.Find(name);
  EXPECT_NE(tensor, nullptr) << name;
  if (tensor == nullptr) return "";
  return std::string(reinterpret_cast<const char*>(tensor->file->data()) +
                         tensor->entry.offset,
                     tensor->entry.bytes);
}

// Goldens: tests/reference/synth_weights.py, counter_values.
TEST(Synth, ValuesAreTheCounterHashOfTheTensorNumber) {
  EXPECT_EQ(SynthValue(0, 0, 0.125, 0.0), 0.03057989850640297f);
  EXPECT_EQ(SynthValue(0, 1, 0.125, 0.0), -0.11755634844303131f);
  EXPECT_EQ(SynthValue(0, 2, 0.125, 0.0), -0.10981924831867218f);
  EXPECT_EQ(SynthValue(1, 0, 0.125, 0.0), -0.05881807953119278f);
  EXPECT_EQ(SynthValue(1, 2, 0.125, 0.0), -0.11349646002054214f);
}

TEST(Synth, Bf16IsTheRoundedF32) {
  TempDir dir;
  const auto f32 = SynthFolder(dir, TinyConfigJson(), 5, DType::kF32);
  const auto bf16 = SynthFolder(dir, TinyConfigJson(), 5, DType::kBf16);
  ASSERT_TRUE(f32.ok() && bf16.ok()) << f32.status() << bf16.status();
  const auto wide = Checkpoint::Open(*f32);
  const auto narrow = Checkpoint::Open(*bf16);
  ASSERT_TRUE(wide.ok() && narrow.ok());
  ASSERT_EQ((*wide)->tensors().size(), (*narrow)->tensors().size());
  for (const auto& [name, tensor] : (*wide)->tensors()) {
    const std::string values = Bytes(**wide, name);
    const std::string rounded = Bytes(**narrow, name);
    ASSERT_EQ(values.size(), 2 * rounded.size()) << name;
    for (size_t i = 0; i < rounded.size() / 2; ++i) {
      float value;
      uint16_t bits;
      std::memcpy(&value, &values[4 * i], 4);
      std::memcpy(&bits, &rounded[2 * i], 2);
      ASSERT_EQ(bits, kernels::FloatToBf16(value)) << name << " " << i;
    }
  }
}

TEST(Synth, SeedAndNameDecideTheWeights) {
  TempDir dir;
  const auto one =
      Checkpoint::Open(*SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16));
  const auto again =
      Checkpoint::Open(*SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16));
  const auto two =
      Checkpoint::Open(*SynthFolder(dir, TinyConfigJson(), 2, DType::kBf16));
  const std::string name = "layers.0.mlp.up_proj.weight";
  EXPECT_EQ(Bytes(**one, name), Bytes(**again, name));
  EXPECT_NE(Bytes(**one, name), Bytes(**two, name));
  EXPECT_NE(Bytes(**one, name), Bytes(**one, "layers.1.mlp.up_proj.weight"));
}

TEST(Synth, ShardsHoldWhatOneFileHolds) {
  TempDir dir;
  const auto single = SynthFolder(dir, TinyConfigJson(), 3, DType::kBf16);
  SynthOptions options = TinyOptions(dir.File("sharded"));
  options.seed = 3;
  options.shard_bytes = 100'000;
  ASSERT_TRUE(Synthesize(options).ok());
  const auto whole = Checkpoint::Open(*single);
  const auto sharded = Checkpoint::Open(options.target);
  ASSERT_TRUE(whole.ok() && sharded.ok()) << sharded.status();
  EXPECT_EQ((*whole)->shards(), 1u);
  EXPECT_GT((*sharded)->shards(), 3u);
  ASSERT_EQ((*whole)->tensors().size(), (*sharded)->tensors().size());
  for (const auto& [name, tensor] : (*whole)->tensors()) {
    EXPECT_EQ(Bytes(**whole, name), Bytes(**sharded, name)) << name;
  }
}

TEST(Synth, SharedLayersHaveNoKeysAndNoHeadIsStored) {
  TempDir dir;
  const auto checkpoint =
      Checkpoint::Open(*SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16));
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_NE((*checkpoint)->Find("layers.2.self_attn.k_proj.weight"), nullptr);
  EXPECT_EQ((*checkpoint)->Find("layers.3.self_attn.k_proj.weight"), nullptr);
  EXPECT_EQ((*checkpoint)->Find("lm_head.weight"), nullptr);
  EXPECT_EQ((*checkpoint)->Find("norm.weight")->stored_name,
            "model.norm.weight");
}

TEST(Synth, ConfigIsCopiedAsGiven) {
  TempDir dir;
  const auto folder = SynthFolder(dir, TinyConfigJson(), 1, DType::kBf16);
  EXPECT_EQ(ReadBytes(*folder + "/config.json"), TinyConfigJson());
  const auto config = ReadModelConfig(*folder);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->generation.eos_token_ids, std::vector<int32_t>{1});
}

TEST(Synth, WrongRequestsAreRefused) {
  TempDir dir;
  EXPECT_EQ(SynthShape("e3b").status().code(),
            absl::StatusCode::kInvalidArgument);
  SynthOptions full = TinyOptions(dir.File("full"));
  std::filesystem::create_directory(full.target);
  WriteBytes(full.target + "/notes.txt", "mine");
  EXPECT_EQ(Synthesize(full).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReadBytes(full.target + "/notes.txt"), "mine");

  SynthOptions towers = TinyOptions(dir.File("towers"));
  Json json = {{"model_type", "gemma3n"},
               {"audio_config", {{"conf_attention_context_right", 4}}},
               {"boa_token_id", 1},
               {"eoa_token_id", 2},
               {"audio_token_id", 3},
               {"text_config", *ParseJson(TinyConfigJson(), "tiny")}};
  towers.config_json = json.dump();
  EXPECT_THAT(std::string(Synthesize(towers).message()),
              HasSubstr("audio_config.conf_attention_context_right"));

  SynthOptions broken = TinyOptions(dir.File("broken"));
  broken.config_json = "{";
  EXPECT_FALSE(Synthesize(broken).ok());
  EXPECT_FALSE(std::filesystem::exists(broken.target));
}

TEST(Synth, ProgressEndsAtTheTotal) {
  TempDir dir;
  SynthOptions options = TinyOptions(dir.File("hf"));
  uint64_t done = 0, total = 1;
  options.progress = [&](absl::string_view, uint64_t bytes, uint64_t of) {
    EXPECT_GE(bytes, done);
    done = bytes;
    total = of;
  };
  ASSERT_TRUE(Synthesize(options).ok());
  EXPECT_EQ(done, total);
}

}  // namespace
}  // namespace lapidary
