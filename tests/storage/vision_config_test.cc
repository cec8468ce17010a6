// vision_config as timm reads it, and what is said of one that no tower has.
#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/vision/weights.h"
#include "storage/vision_config_reader.h"
#include "tests/support/files.h"

namespace lapidary {
namespace {

using kernels::Padding;
using kernels::vision::BlockType;
using kernels::vision::VisionConfig;
using kernels::vision::VisionTensorSpec;
using testing::HasSubstr;

absl::StatusOr<VisionConfig> Read(const Json& json) {
  return ReadVisionConfig(json, "config.json: vision_config", 2048);
}

// A backbone of one stage that can be spoilt.
Json Small() {
  const Json er = {{"block_type", "er"}, {"out_chs", 16},
                   {"stride", 2},        {"exp_kernel_size", 3},
                   {"exp_ratio", 4.0},   {"act_layer", nullptr}};
  const Json mqa = {{"block_type", "mqa"}, {"out_chs", 16}, {"stride", 1},
                    {"num_heads", 2},      {"key_dim", 8},  {"value_dim", 8}};
  Json stages = Json::array();
  stages.push_back(Json::array({er, mqa}));
  return {{"architecture", "mobilenetv5_300m"},
          {"hidden_size", 64},
          {"model_args",
           {{"num_features", 64},
            {"msfa_output_resolution", 2},
            {"block_args", stages}}}};
}

// gemma3n-vision.md §2, §6: counted on the published model.
TEST(VisionConfig, Defaults_AreThePublishedTower) {
  const auto config = Read(Json::object());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->padding, Padding::kSame);
  ASSERT_EQ(config->stages.size(), 4u);
  EXPECT_EQ(config->stages[0].size(), 3u);
  EXPECT_EQ(config->stages[1].size(), 5u);
  EXPECT_EQ(config->stages[2].size(), 37u);
  EXPECT_EQ(config->stages[3].size(), 39u);
  EXPECT_EQ(config->soft_tokens(), 256);
  EXPECT_EQ(config->msfa_features, (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(config->msfa_in(), 1920);
  int64_t tower = 0, embedder = 0, tensors = 0;
  for (const VisionTensorSpec& spec : VisionTensorSpecs(*config)) {
    int64_t elements = 1;
    for (const int64_t size : spec.shape) elements *= size;
    const bool is_tower = spec.packed.name.rfind("vision_tower.", 0) == 0;
    (is_tower ? tower : embedder) += elements;
    tensors += is_tower ? 1 : 0;
  }
  EXPECT_EQ(tower, 294126912);
  EXPECT_EQ(embedder, 4460544);
  EXPECT_EQ(tensors, 548);
}

TEST(VisionConfig, ChannelMultiplier_ScalesAndRoundsAsTimm) {
  Json json = {{"architecture", "mobilenetv5_300m"},
               {"hidden_size", 64},
               {"model_args",
                {{"stem_size", 16},
                 {"channel_multiplier", 0.0625},
                 {"num_features", 64}}}};
  const auto config = Read(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->stem_size, 16);  // below 1 the stem is not scaled
  EXPECT_EQ(config->stages[0].back().out, 8);
  EXPECT_EQ(config->stages[1].back().out, 16);
  EXPECT_EQ(config->stages[2].back().out, 40);
  EXPECT_EQ(config->stages[3].back().out, 80);
  EXPECT_EQ(config->padding, Padding::kSymmetric);  // of the backbone
}

TEST(VisionConfig, OnlyTheFirstBlockOfAStageStrides) {
  Json json = Small();
  json["model_args"]["block_args"][0][1]["stride"] = 2;
  const auto config = Read(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->stages[0][1].type, BlockType::kAttention);
  EXPECT_EQ(config->stages[0][1].stride, 1);
  EXPECT_TRUE(config->stages[0][1].skip);
}

TEST(VisionConfig, NullArguments_AreAbsentOnes) {
  Json json = Small();
  json["model_args"]["layer_scale_init_value"] = nullptr;
  json["model_args"]["stem_size"] = nullptr;
  const auto config = Read(json);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->stem_size, 64);
  EXPECT_TRUE(config->stages[0][1].layer_scale);
}

struct Spoilt {
  const char* path;  // JSON pointer
  Json value;
  const char* message;
};

TEST(VisionConfig, WhatNoTowerHas_IsNamed) {
  const std::vector<Spoilt> cases = {
      {"/architecture", "resnet50", "mobilenetv5_300m"},
      {"/hidden_size", 128, "num_features"},
      {"/hidden_size", -1, "hidden_size"},
      {"/vocab_size", 0, "vocab_size"},
      {"/rms_norm_eps", "small", "rms_norm_eps"},
      {"/model_args", 3, "want a JSON object"},
      {"/model_args/no_such", 1, "no_such"},
      {"/model_args/pad_type", "valid", "pad_type"},
      {"/model_args/in_chans", 4, "in_chans"},
      {"/model_args/use_msfa", false, "use_msfa"},
      {"/model_args/group_size", 8, "group_size"},
      {"/model_args/stem_size", 1e9, "stem_size"},
      {"/model_args/channel_multiplier", -1, "channel_multiplier"},
      {"/model_args/channel_multiplier", 1e300, "channel_multiplier"},
      {"/model_args/msfa_output_resolution", 0, "msfa_output_resolution"},
      {"/model_args/msfa_indices", {0, 7}, "msfa_indices"},
      {"/model_args/msfa_indices", {1, -1}, "each feature once"},
      {"/model_args/msfa_indices", Json::array(), "msfa_indices"},
      {"/model_args/block_args", Json::array(), "block_args"},
      {"/model_args/block_args", "er_r1_k3", "block_args"},
      {"/model_args/block_args/0", Json::array(), "block_args[0]"},
      {"/model_args/block_args/0/0", "er_r1_k3_s2_e4_c16", "block_args[0][0]"},
      {"/model_args/block_args/0/0/block_type", "ir", "block_type"},
      {"/model_args/block_args/0/0/block_type", "mqa", "block_type"},
      {"/model_args/block_args/0/0/stride", 1, "stride"},
      {"/model_args/block_args/0/0/stride", 3, "stride"},
      {"/model_args/block_args/0/0/out_chs", 1 << 30, "out_chs"},
      {"/model_args/block_args/0/0/out_chs", nullptr, "out_chs"},
      {"/model_args/block_args/0/0/exp_kernel_size", 4, "exp_kernel_size"},
      {"/model_args/block_args/0/0/exp_kernel_size", 99, "exp_kernel_size"},
      {"/model_args/block_args/0/0/exp_ratio", 1e30, "exp_ratio"},
      {"/model_args/block_args/0/0/se_ratio", 0.25, "se_ratio"},
      {"/model_args/block_args/0/0/act_layer", "relu", "act_layer"},
      {"/model_args/block_args/0/0/key_dim", 8, "key_dim"},
      {"/model_args/block_args/0/1/num_heads", 0, "num_heads"},
      {"/model_args/block_args/0/1/key_dim", 1 << 20, "key_dim"},
      {"/model_args/block_args/0/1/kv_stride", 0, "kv_stride"},
      {"/model_args/block_args/0/1/query_strides", {2, 2}, "query_strides"},
      {"/model_args/block_args/0/1/use_cpe", true, "use_cpe"},
  };
  for (const Spoilt& each : cases) {
    Json json = Small();
    json[Json::json_pointer(each.path)] = each.value;
    const auto config = Read(json);
    ASSERT_FALSE(config.ok()) << each.path;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(each.message))
        << each.path;
    EXPECT_THAT(std::string(config.status().message()),
                HasSubstr("config.json: vision_config"))
        << each.path;
  }
}

TEST(VisionConfig, MoreStagesThanTimmStrides_AreRefused) {
  Json json = Small();
  Json& stages = json["model_args"]["block_args"];
  while (stages.size() < 5) stages.push_back(Json::array({stages[0][0]}));
  EXPECT_FALSE(Read(json).ok());
}

}  // namespace
}  // namespace lapidary
