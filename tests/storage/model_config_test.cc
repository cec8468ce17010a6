#include "storage/model_config.h"

#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/sampling/sampler.h"
#include "storage/json.h"
#include "storage/synth.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using kernels::text::LayerType;
using kernels::text::TextConfig;
using testing::HasSubstr;

Json Tiny() { return *ParseJson(TinyConfigJson(), "tiny"); }

// The tiny config with one field of another value.
std::string TinyWith(const std::string& field, const Json& value) {
  Json json = Tiny();
  json[field] = value;
  return json.dump();
}

std::string TinyWithout(const std::vector<std::string>& fields) {
  Json json = Tiny();
  for (const std::string& field : fields) json.erase(field);
  return json.dump();
}

TextConfig MustRead(const std::string& text) {
  const auto config = ParseModelConfig(text);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? config->text : TextConfig();
}

TEST(ModelConfig, EveryFieldIsRead) {
  const TextConfig c = MustRead(TinyConfigJson());
  EXPECT_EQ(c.vocab_size, 320);
  EXPECT_EQ(c.vocab_size_per_layer_input, 300);
  EXPECT_EQ(c.hidden_size, 64);
  EXPECT_EQ(c.hidden_size_per_layer_input, 8);
  EXPECT_EQ(c.intermediate_size,
            (std::vector<int64_t>{96, 96, 96, 80, 96, 96}));
  EXPECT_EQ(c.num_hidden_layers, 6);
  EXPECT_EQ(c.num_attention_heads, 4);
  EXPECT_EQ(c.num_key_value_heads, 2);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.max_position_embeddings, 1024);
  EXPECT_FLOAT_EQ(c.rms_norm_eps, 1e-6f);
  EXPECT_FLOAT_EQ(c.rope_theta, 1e6f);
  EXPECT_FLOAT_EQ(c.rope_local_base_freq, 1e4f);
  EXPECT_EQ(c.sliding_window, 8);
  EXPECT_EQ(c.layer_types[2], LayerType::kFull);
  EXPECT_EQ(c.layer_types[3], LayerType::kSliding);
  EXPECT_EQ(c.num_kv_shared_layers, 3);
  EXPECT_FLOAT_EQ(c.activation_sparsity_pattern[1], 0.9f);
  EXPECT_EQ(c.activation_sparsity_pattern[2], 0.0f);
  EXPECT_FLOAT_EQ(*c.final_logit_softcapping, 30.0f);
  EXPECT_EQ(c.altup_num_inputs, 4);
  EXPECT_EQ(c.altup_active_idx, 0);
  EXPECT_FLOAT_EQ(c.altup_coef_clip, 120.0f);
  EXPECT_TRUE(c.altup_correct_scale);
  EXPECT_EQ(c.laurel_rank, 8);
  EXPECT_EQ(c.pad_token_id, 0);
  EXPECT_EQ(c.eos_token_id, 1);
  EXPECT_EQ(c.bos_token_id, 2);
}

TEST(ModelConfig, ScalarsStandForAllLayers) {
  EXPECT_EQ(MustRead(TinyWith("intermediate_size", 48)).intermediate_size,
            std::vector<int64_t>(6, 48));
  EXPECT_EQ(MustRead(TinyWith("activation_sparsity_pattern", 0.5))
                .activation_sparsity_pattern,
            std::vector<float>(6, 0.5f));
}

TEST(ModelConfig, AbsentFieldsHaveHuggingFaceDefaults) {
  const TextConfig c =
      MustRead(R"({"model_type": "gemma3n_text"})");  // the class's own: E4B
  EXPECT_EQ(c.vocab_size, 262400);
  EXPECT_EQ(c.vocab_size_per_layer_input, 262144);
  EXPECT_EQ(c.hidden_size, 2048);
  EXPECT_EQ(c.hidden_size_per_layer_input, 256);
  EXPECT_EQ(c.intermediate_size, std::vector<int64_t>(35, 16384));
  EXPECT_EQ(c.num_key_value_heads, 2);
  EXPECT_EQ(c.num_kv_shared_layers, 15);
  EXPECT_EQ(c.sliding_window, 512);
  EXPECT_EQ(c.layer_types[4], LayerType::kFull);
  EXPECT_EQ(c.layer_types[5], LayerType::kSliding);
  EXPECT_FLOAT_EQ(c.activation_sparsity_pattern[9], 0.95f);
  EXPECT_EQ(c.activation_sparsity_pattern[10], 0.0f);
  EXPECT_FLOAT_EQ(c.rope_theta, 1e6f);
  EXPECT_FLOAT_EQ(c.rope_local_base_freq, 1e4f);
  EXPECT_EQ(c.laurel_rank, 64);
}

TEST(ModelConfig, SparsityDefaultsToDenseUpToTenLayers) {
  EXPECT_EQ(MustRead(TinyWithout({"activation_sparsity_pattern"}))
                .activation_sparsity_pattern,
            std::vector<float>(6, 0.0f));
}

TEST(ModelConfig, NullSwitchesCapAndClipOff) {
  EXPECT_FALSE(MustRead(TinyWith("final_logit_softcapping", nullptr))
                   .final_logit_softcapping.has_value());
  EXPECT_TRUE(std::isinf(
      MustRead(TinyWith("altup_coef_clip", nullptr)).altup_coef_clip));
}

TEST(ModelConfig, RopeParametersReplaceTheOlderFields) {
  Json json =
      *ParseJson(TinyWithout({"rope_theta", "rope_local_base_freq"}), "tiny");
  json["rope_parameters"] = {
      {"full_attention", {{"rope_type", "default"}, {"rope_theta", 5e5}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 7000}}}};
  const TextConfig c = MustRead(json.dump());
  EXPECT_FLOAT_EQ(c.rope_theta, 5e5f);
  EXPECT_FLOAT_EQ(c.rope_local_base_freq, 7000.0f);
}

TEST(ModelConfig, FullModelKeepsItsDecoderInTextConfig) {
  Json json = {{"architectures", {"Gemma3nForConditionalGeneration"}},
               {"model_type", "gemma3n"},
               {"text_config", Tiny()},
               {"vision_config", Json::object()},
               {"eos_token_id", {1, 106}},
               {"boi_token_id", 200},
               {"eoi_token_id", 301},
               {"image_token_id", 302}};
  json["text_config"].erase("architectures");
  const auto config = ParseModelConfig(json.dump());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->text.hidden_size, 64);
  EXPECT_TRUE(config->has_vision);
  EXPECT_FALSE(config->has_audio);
  EXPECT_EQ(config->image_token_id, 302);
  EXPECT_EQ(config->audio_token_id, std::nullopt);
  EXPECT_EQ(config->generation.eos_token_ids, (std::vector<int32_t>{1, 106}));
}

struct BadField {
  std::string field;
  Json value;
  std::vector<std::string> said;
};

TEST(ModelConfig, WrongFieldIsNamedWithItsValueAndWhatIsRight) {
  const std::vector<BadField> cases = {
      {"hidden_size", "64", {"hidden_size is \"64\"", "integer from 1"}},
      {"hidden_size", 64.0, {"hidden_size is 64.0", "integer"}},
      {"hidden_size", 0, {"hidden_size is 0", "from 1 to 1048576"}},
      {"hidden_size", -64, {"hidden_size is -64"}},
      {"hidden_size", nullptr, {"hidden_size is null"}},
      {"hidden_size", 66, {"hidden_size is 66", "num_attention_heads = 4"}},
      {"vocab_size", 18446744073709551615u, {"vocab_size is 184467"}},
      {"vocab_size", 1 << 21, {"vocab_size is 2097152", "1048576"}},
      {"num_hidden_layers", 100000, {"num_hidden_layers", "1024"}},
      {"vocab_size_per_layer_input", 321, {"at most vocab_size = 320"}},
      {"num_key_value_heads", 3, {"divisor of num_attention_heads = 4"}},
      {"head_dim", 15, {"head_dim is 15", "even"}},
      {"head_dim", 1 << 19, {"head_dim", "num_attention_heads = 4"}},
      {"sliding_window", 0, {"sliding_window is 0", "from 1"}},
      {"altup_num_inputs", 1, {"altup_num_inputs is 1", "from 2 to 8"}},
      {"altup_active_idx", 4, {"altup_active_idx is 4", "less than"}},
      {"altup_active_idx", -1, {"altup_active_idx is -1"}},
      {"altup_correct_scale", 1, {"altup_correct_scale is 1", "true or false"}},
      {"num_kv_shared_layers", 6, {"num_kv_shared_layers is 6", "less than"}},
      {"num_kv_shared_layers",
       4,
       {"layer_types[2]", "full_attention", "among the first 2"}},
      {"intermediate_size", {96, 96}, {"intermediate_size has 2 values", "6"}},
      {"intermediate_size",
       {96, 96, 0, 96, 96, 96},
       {"intermediate_size[2] is 0"}},
      {"intermediate_size",
       {96, 96, 9.5, 96, 96, 96},
       {"intermediate_size[2] is 9.5"}},
      {"layer_types", {"full_attention"}, {"layer_types", "6"}},
      {"layer_types",
       {"full_attention", "a", "b", "c", "d", "e"},
       {"layer_types[1] is \"a\"", "sliding_attention"}},
      {"activation_sparsity_pattern",
       {0, 0, 0, 0, 0, 1},
       {"activation_sparsity_pattern[5] is 1", "to below 1"}},
      {"activation_sparsity_pattern", -0.1, {"is -0.1"}},
      {"activation_sparsity_pattern", "dense", {"is \"dense\""}},
      {"final_logit_softcapping", 0, {"final_logit_softcapping is 0"}},
      {"rms_norm_eps", -1, {"rms_norm_eps is -1"}},
      {"rope_theta", 0, {"rope_theta is 0", "above 0"}},
      {"rope_parameters",
       {{"full_attention", {{"rope_theta", 5.0}}}},
       {"rope_theta is 1000000.0", "contradicts", "rope_parameters"}},
      {"rope_parameters", {{"rope_theta", 5.0}}, {"one object for each of"}},
      {"rope_parameters", 7, {"rope_parameters is 7", "object"}},
      {"eos_token_id", 320, {"eos_token_id", "is 320"}},
      {"eos_token_id", {1, 320}, {"eos_token_id[1] is 320"}},
      {"text_config", Json::object(), {"text_config", "want none"}},
      {"architectures",
       {"Gemma3nForConditionalGeneration"},
       {"model_type is \"gemma3n_text\"", "\"gemma3n\""}},
  };
  for (const BadField& bad : cases) {
    const auto config = ParseModelConfig(TinyWith(bad.field, bad.value));
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument)
        << bad.field << " " << config.status();
    for (const std::string& said : bad.said) {
      EXPECT_THAT(std::string(config.status().message()), HasSubstr(said));
    }
  }
}

TEST(ModelConfig, OtherKindsOfModelAreNotGuessedAt) {
  const std::vector<BadField> cases = {
      {"hidden_activation", "silu", {"\"silu\"", "gelu_pytorch_tanh"}},
      {"attention_bias", true, {"attention_bias is true"}},
      {"tie_word_embeddings", false, {"tie_word_embeddings is false"}},
      {"rope_scaling",
       {{"rope_type", "linear"}, {"factor", 8.0}},
       {"rope_scaling.rope_type is \"linear\""}},
      {"rope_parameters",
       {{"full_attention", {{"rope_type", "yarn"}, {"rope_theta", 1e6}}}},
       {"full_attention.rope_type is \"yarn\""}},
      {"architectures",
       {"Gemma3ForCausalLM"},
       {"\"Gemma3ForCausalLM\" is not Gemma 3n"}},
      {"quantization_config", {{"bits", 4}}, {"quantization_config"}},
  };
  for (const BadField& bad : cases) {
    const auto config = ParseModelConfig(TinyWith(bad.field, bad.value));
    EXPECT_EQ(config.status().code(), absl::StatusCode::kUnimplemented)
        << bad.field << " " << config.status();
    for (const std::string& said : bad.said) {
      EXPECT_THAT(std::string(config.status().message()), HasSubstr(said));
    }
  }
}

TEST(ModelConfig, BrokenJsonIsRefused) {
  const std::string tiny = TinyConfigJson();
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string("null"),
        tiny.substr(0, tiny.size() / 2), std::string("{\"vocab_size\": NaN}"),
        std::string("{\"a\": 1, \"a\": 2}"), std::string(100000, '[')}) {
    EXPECT_FALSE(ParseModelConfig(text).ok()) << text.substr(0, 50);
  }
}

TEST(ModelConfig, GenerationConfigSetsDefaults) {
  ModelConfig config = *ParseModelConfig(TinyConfigJson());
  EXPECT_EQ(config.generation.eos_token_ids, std::vector<int32_t>{1});
  ASSERT_TRUE(ParseGenerationConfig(
                  R"({"do_sample": true, "temperature": 0.7, "top_k": 64,
                      "top_p": 0.95, "eos_token_id": [1, 106]})",
                  &config)
                  .ok());
  EXPECT_TRUE(config.generation.do_sample);
  EXPECT_FLOAT_EQ(config.generation.temperature, 0.7f);
  EXPECT_EQ(config.generation.top_k, 64);
  EXPECT_FLOAT_EQ(config.generation.top_p, 0.95f);
  EXPECT_EQ(config.generation.eos_token_ids, (std::vector<int32_t>{1, 106}));
}

TEST(ModelConfig, WrongGenerationConfigIsNamed) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"temperature": -1})", "temperature is -1"},
      {R"({"temperature": "warm"})", "temperature is \"warm\""},
      {R"({"temperature": 1e39})", "temperature is 1e"},
      {R"({"top_p": 1.5})", "top_p is 1.5"},
      {R"({"top_p": 0})", "top_p is 0: want a number in (0, 1]"},
      {R"({"top_p": 1e-60})", "top_p is 1e-60"},
      {R"({"min_p": -0.1})", "min_p is -0.1"},
      {R"({"min_p": 1.1})", "min_p is 1.1"},
      {R"({"top_k": -1})", "top_k is -1"},
      {R"({"repetition_penalty": 0})", "repetition_penalty is 0"},
      {R"({"repetition_penalty": 1e-60})", "repetition_penalty is 1e-60"},
      {R"({"repetition_penalty": 1e39})", "repetition_penalty is 1e"},
      {R"({"eos_token_id": [1, 5000]})", "eos_token_id[1] is 5000"},
      {R"({"eos_token_id": []})", "eos_token_id"}};
  for (const auto& [text, said] : cases) {
    ModelConfig config = *ParseModelConfig(TinyConfigJson());
    const absl::Status status = ParseGenerationConfig(text, &config);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(said));
  }
}

// At the ends of every range: a default that the sampler refuses would fail
// every request of the model.
TEST(ModelConfig, AcceptedGenerationConfigIsAcceptedBySampling) {
  for (const char* text :
       {R"({})", R"({"temperature": 0})", R"({"temperature": 1e6})",
        R"({"top_k": 0})", R"({"top_k": null})", R"({"top_p": 1e-37})",
        R"({"top_p": 1})", R"({"min_p": 0})", R"({"min_p": 1})",
        R"({"repetition_penalty": 1e-37})", R"({"repetition_penalty": 1e6})"}) {
    SCOPED_TRACE(text);
    ModelConfig config = *ParseModelConfig(TinyConfigJson());
    const absl::Status parsed = ParseGenerationConfig(text, &config);
    ASSERT_TRUE(parsed.ok()) << parsed;
    kernels::SamplingParams params;
    params.temperature = config.generation.temperature;
    params.top_k = config.generation.top_k;
    params.top_p = config.generation.top_p;
    params.min_p = config.generation.min_p;
    params.repetition_penalty = config.generation.repetition_penalty;
    const absl::Status status = kernels::CheckSamplingParams(params, 300);
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(ModelConfig, PublishedShapesAreValid) {
  for (const char* shape : {"e2b", "e4b"}) {
    const auto config = ParseModelConfig(*SynthShape(shape));
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(config->text.first_kv_shared_layer(), 20);
    EXPECT_EQ(config->text.KvSource(config->text.num_hidden_layers - 1), 19);
    EXPECT_EQ(config->text.KvSource(20), 18);
    EXPECT_FALSE(config->has_vision);
    EXPECT_EQ(config->generation.eos_token_ids, (std::vector<int32_t>{1, 106}));
  }
}

}  // namespace
}  // namespace lapidary
