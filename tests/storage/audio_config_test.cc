// audio_config and the feature extractor as Hugging Face reads them, what is
// said of ones that no tower has, and packing a tower.
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/audio/weights.h"
#include "storage/audio_config_reader.h"
#include "storage/packed_model.h"
#include "storage/synth.h"
#include "storage/tensor_groups.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using kernels::DType;
using kernels::audio::AudioConfig;
using kernels::audio::AudioTensorSpec;
using kernels::audio::MelConfig;
using testing::HasSubstr;

absl::StatusOr<AudioConfig> Read(const Json& json) {
  return ReadAudioConfig(json, "config.json: audio_config", 2048);
}

std::string ErrorOf(const Json& json) {
  return std::string(Read(json).status().message());
}

// gemma3n-audio.md §6: counted on the published model.
TEST(AudioConfig, Defaults_AreThePublishedTower) {
  const auto config = Read(Json::object());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->subsampled_size(), 1024);
  EXPECT_EQ(config->attention_keys(), 13);
  int64_t parameters = 0, tensors = 0;
  for (const AudioTensorSpec& spec : AudioTensorSpecs(*config)) {
    int64_t elements = 1;
    for (const int64_t size : spec.shape) elements *= size;
    parameters += elements;
    ++tensors;
    int64_t packed = 1;
    for (const int64_t size : spec.packed.shape) packed *= size;
    EXPECT_EQ(packed, elements) << spec.packed.name;
  }
  EXPECT_EQ(tensors, 269 + 4);
  EXPECT_EQ(parameters, 684'694'048);
}

TEST(AudioConfig, EveryField_IsRead) {
  const auto config = Read({{"hidden_size", 36},
                            {"input_feat_size", 40},
                            {"rms_norm_eps", 1e-5},
                            {"gradient_clipping", 1e10},
                            {"vocab_size", 8},
                            {"vocab_offset", 312},
                            {"conf_attention_chunk_size", 4},
                            {"conf_attention_context_left", 6},
                            {"conf_attention_logit_cap", 2.0},
                            {"conf_num_attention_heads", 3},
                            {"conf_num_hidden_layers", 2},
                            {"conf_conv_kernel_size", 4},
                            {"conf_reduction_factor", 3},
                            {"conf_residual_weight", 0.75},
                            {"sscp_conv_channel_size", {12, 10}},
                            {"sscp_conv_kernel_size", {{5, 3}, {2, 3}}},
                            {"sscp_conv_stride_size", {{2, 2}, {1, 2}}},
                            {"sscp_conv_group_norm_eps", 0.01}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hidden_size, 36);
  EXPECT_EQ(config->head_dim(), 12);
  EXPECT_EQ(config->mel.feature_size, 40);
  EXPECT_EQ(config->padding_row(), 7);
  EXPECT_EQ(config->sscp_conv[0].time_kernel, 5);
  EXPECT_EQ(config->sscp_conv[1].channels, 10);
  EXPECT_EQ(config->sscp_conv[1].time_stride, 1);
  EXPECT_EQ(config->conf_reduction_factor, 3);
  EXPECT_FLOAT_EQ(config->conf_residual_weight, 0.75f);
}

TEST(AudioConfig, WhatNoTowerHas_IsNamed) {
  EXPECT_THAT(ErrorOf({{"hidden_size", 30}}),
              HasSubstr("divisible by conf_num_attention_heads"));
  EXPECT_THAT(ErrorOf({{"conf_attention_context_right", 2}}),
              HasSubstr("conf_attention_context_right is 2"));
  EXPECT_THAT(ErrorOf({{"gradient_clipping", 0.7}}),
              HasSubstr("gradient_clipping is 0.7"));
  EXPECT_THAT(ErrorOf({{"sscp_conv_kernel_size", {3, 3}}}),
              HasSubstr("two pairs"));
  EXPECT_THAT(ErrorOf({{"sscp_conv_stride_size", {{2, 0}, {2, 2}}}}),
              HasSubstr("two pairs"));
  EXPECT_THAT(ErrorOf({{"sscp_conv_channel_size", {128}}}),
              HasSubstr("two channel counts"));
  EXPECT_THAT(ErrorOf({{"hidden_size", -4}}), HasSubstr("hidden_size"));
  EXPECT_THAT(ErrorOf({{"conf_num_hidden_layers", 1.5}}),
              HasSubstr("conf_num_hidden_layers"));
  EXPECT_FALSE(Read(Json::array()).ok());
}

absl::Status ReadMel(const Json& json, MelConfig* mel) {
  return ReadMelConfig(json, "processor_config.json", mel);
}

TEST(MelConfig, ExtractorsFields_AreRead) {
  MelConfig mel;
  ASSERT_TRUE(ReadMel({{"sampling_rate", 16000},
                       {"frame_length_ms", 20.0},
                       {"hop_length_ms", 5.0},
                       {"fft_overdrive", false},
                       // Written, but not read by Hugging Face.
                       {"frame_length", 999},
                       {"preemphasis", 0.0},
                       {"mel_floor", 1e-3}},
                      &mel)
                  .ok());
  EXPECT_EQ(mel.frame_length, 320);
  EXPECT_EQ(mel.hop_length, 80);
  EXPECT_EQ(mel.fft_length, 512);
  EXPECT_EQ(mel.preemphasis, 0.0);
}

TEST(MelConfig, AnImageProcessorsFields_AreSkipped) {
  MelConfig mel;
  EXPECT_TRUE(ReadMel({{"size", {{"height", 256}}}}, &mel).ok());
  EXPECT_EQ(mel.frame_length, 512);
}

TEST(MelConfig, WhatNoExtractorHas_IsNamed) {
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, Json>>{{"sampling_rate", 8000},
                                                 {"dither", 0.1},
                                                 {"feature_size", 80},
                                                 {"max_frequency", 9000},
                                                 {"min_frequency", 7700},
                                                 {"mel_floor", 0},
                                                 {"per_bin_mean", {1, 2}}}) {
    Json json = {{"sampling_rate", 16000}};
    json[name] = value;
    MelConfig mel;
    const absl::Status status = ReadMel(json, &mel);
    EXPECT_FALSE(status.ok()) << name;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(name == "min_frequency" ? "max_frequency" : name));
    EXPECT_EQ(mel.hop_length, 160);
  }
}

class AudioPackTest : public testing::Test {
 protected:
  void Synth(const Json& audio) {
    const Json config = {{"architectures", {"Gemma3nForConditionalGeneration"}},
                         {"model_type", "gemma3n"},
                         {"text_config", *ParseJson(TinyConfigJson(), "tiny")},
                         {"audio_config", audio},
                         {"boa_token_id", 100},
                         {"eoa_token_id", 310},
                         {"audio_token_id", 311}};
    auto made = SynthFolder(dir_, config.dump(), 1, DType::kBf16);
    ASSERT_TRUE(made.ok()) << made.status();
    hf_ = *made;
  }
  static Json Small() {
    return {{"hidden_size", 32},
            {"conf_num_attention_heads", 2},
            {"conf_num_hidden_layers", 1},
            {"vocab_size", 8},
            {"vocab_offset", 310}};
  }
  TempDir dir_;
  std::string hf_;
};

TEST_F(AudioPackTest, Int4Model_KeepsTheTowerInBf16AndCountsIt) {
  Synth(Small());
  const auto packed = PackFolder(dir_, hf_, DType::kInt4);
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto model = PackedModel::Open(*packed, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->has_audio_tower());
  EXPECT_FALSE((*model)->has_vision_tower());
  EXPECT_GT((*model)->parameters().audio, 0);
  uint64_t bytes = 0;
  for (const TensorGroup& group : (*model)->groups()) {
    if (group.name != "audio tower") continue;
    bytes += group.bytes;
    EXPECT_NE(group.dtype, DType::kInt4);
  }
  EXPECT_GT(bytes, 0u);
  EXPECT_GE((*model)->audio_bytes(), bytes);
  const auto weights = (*model)->LoadAudio();
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ((*weights)->conformer[0].q_proj.dtype(), DType::kBf16);
}

TEST_F(AudioPackTest, Int8Tower_InAModelOfAnyDType) {
  Synth(Small());
  for (const DType matrices :
       {DType::kF32, DType::kBf16, DType::kInt8, DType::kInt4}) {
    PackDTypes dtypes;
    dtypes.matrices = matrices;
    dtypes.others[MatrixGroup::kAudio] = DType::kInt8;
    const auto packed = PackFolder(dir_, hf_, dtypes);
    ASSERT_TRUE(packed.ok()) << packed.status();
    const auto model = PackedModel::Open(*packed, {});
    ASSERT_TRUE(model.ok()) << model.status();
    const auto weights = (*model)->LoadAudio();
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_EQ((*weights)->conformer[0].q_proj.dtype(), DType::kInt8);
    EXPECT_EQ((*weights)->embedding_projection.dtype(), DType::kInt8);
    EXPECT_EQ((*weights)->conv_1.dtype(), DType::kBf16);
    double error = 0;
    for (const TensorGroup& group : (*model)->groups()) {
      if (group.name == "audio tower" && group.dtype == DType::kInt8) {
        error = group.rms_error;
      }
    }
    EXPECT_GT(error, 1e-4);
    EXPECT_LT(error, 0.02);
  }
}

TEST_F(AudioPackTest, Int4Tower_IsRefused) {
  Synth(Small());
  PackDTypes dtypes;
  dtypes.others[MatrixGroup::kAudio] = DType::kInt4;
  const auto packed = PackFolder(dir_, hf_, dtypes);
  EXPECT_EQ(packed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(packed.status().message()), HasSubstr("audio tower"));
}

TEST_F(AudioPackTest, OtherWidth_IsNamedWithTheRightOne) {
  Synth(Small());
  Json config = *ParseJson(ReadBytes(hf_ + "/config.json"), "config.json");
  config["audio_config"]["hidden_size"] = 48;
  WriteBytes(hf_ + "/config.json", config.dump());
  const auto packed = PackFolder(dir_, hf_, DType::kBf16);
  EXPECT_FALSE(packed.ok());
  EXPECT_THAT(std::string(packed.status().message()),
              HasSubstr("audio_tower."));
}

TEST_F(AudioPackTest, MissingAndUnexpectedTensors_AreNamed) {
  Synth(Small());
  Json config = *ParseJson(ReadBytes(hf_ + "/config.json"), "config.json");
  config["audio_config"]["conf_num_hidden_layers"] = 2;
  WriteBytes(hf_ + "/config.json", config.dump());
  EXPECT_THAT(
      std::string(PackFolder(dir_, hf_, DType::kBf16).status().message()),
      HasSubstr("conformer.1.ffw_layer_start.pre_layer_norm.weight: missing"));
  Json two = Small();
  two["conf_num_hidden_layers"] = 2;
  Synth(two);
  config["audio_config"]["conf_num_hidden_layers"] = 1;
  WriteBytes(hf_ + "/config.json", config.dump());
  EXPECT_THAT(
      std::string(PackFolder(dir_, hf_, DType::kBf16).status().message()),
      HasSubstr("audio_config describes has no such tensor"));
}

TEST(SynthShapes, WithAudio_HaveIt) {
  for (const char* name : {"e2b+audio", "e4b+audio", "e2b+vision+audio"}) {
    EXPECT_TRUE(IsSynthShape(name)) << name;
    const auto config = SynthShape(name);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_THAT(*config, HasSubstr("audio_config"));
  }
  EXPECT_FALSE(IsSynthShape("e2b+audio+vision"));
}

}  // namespace
}  // namespace lapidary
