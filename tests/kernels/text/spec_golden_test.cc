// The tiny golden of the specification, gemma3n-text.md §11: weights by number,
// results printed in the page itself and confirmed by Hugging Face.

#include <sys/stat.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/json.h"
#include "storage/synth.h"
#include "tests/support/files.h"
#include "tests/support/text_runner.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

constexpr char kFolder[] = "tests/goldens/text/spec/";

struct Amplitude {
  double amplitude, offset;
};

Amplitude AmplitudeOf(const std::string& name) {
  if (absl::StrContains(name, "norm") ||
      absl::EndsWith(name, "correct_output_scale")) {
    return {0.5, 1.0};
  }
  if (absl::StrContains(name, "modality_router")) return {4.0, 0.0};
  if (absl::StrContains(name, "_coefs")) return {0.25, 0.0};
  return {0.125, 0.0};
}

struct NumberedTensor {
  std::string name;
  std::vector<int64_t> shape;
};

// The specification's order, which is the tensors' numbers.
std::vector<NumberedTensor> TensorsInOrder() {
  std::vector<NumberedTensor> all = {
      {"embed_tokens.weight", {320, 64}},
      {"embed_tokens_per_layer.weight", {300, 80}},
      {"per_layer_model_projection.weight", {80, 64}},
      {"per_layer_projection_norm.weight", {8}}};
  for (const char* kind : {"altup_projections", "altup_unembed_projections"}) {
    for (int i = 0; i < 3; ++i) {
      all.push_back({absl::StrCat(kind, ".", i, ".weight"), {64, 64}});
    }
  }
  all.push_back({"norm.weight", {64}});
  const std::vector<NumberedTensor> layer = {
      {"self_attn.q_proj.weight", {64, 64}},
      {"self_attn.k_proj.weight", {32, 64}},
      {"self_attn.v_proj.weight", {32, 64}},
      {"self_attn.o_proj.weight", {64, 64}},
      {"self_attn.q_norm.weight", {16}},
      {"self_attn.k_norm.weight", {16}},
      {"mlp.gate_proj.weight", {256, 64}},
      {"mlp.up_proj.weight", {256, 64}},
      {"mlp.down_proj.weight", {64, 256}},
      {"input_layernorm.weight", {64}},
      {"post_attention_layernorm.weight", {64}},
      {"pre_feedforward_layernorm.weight", {64}},
      {"post_feedforward_layernorm.weight", {64}},
      {"per_layer_input_gate.weight", {8, 64}},
      {"per_layer_projection.weight", {64, 8}},
      {"post_per_layer_input_norm.weight", {64}},
      {"altup.correct_output_scale", {64}},
      {"altup.correction_coefs.weight", {4, 4}},
      {"altup.prediction_coefs.weight", {16, 4}},
      {"altup.modality_router.weight", {4, 64}},
      {"altup.router_norm.weight", {64}},
      {"laurel.linear_left.weight", {4, 64}},
      {"laurel.linear_right.weight", {64, 4}},
      {"laurel.post_laurel_norm.weight", {64}}};
  for (int i = 0; i < 10; ++i) {
    for (const NumberedTensor& tensor : layer) {
      all.push_back(
          {absl::StrCat("layers.", i, ".", tensor.name), tensor.shape});
    }
  }
  return all;
}

// The checkpoint, KV-shared layers' dead tensors included, as one file.
std::string SpecCheckpoint() {
  Json header;
  std::string data;
  uint32_t number = 0;
  for (const NumberedTensor& tensor : TensorsInOrder()) {
    int64_t elements = 1;
    for (int64_t d : tensor.shape) elements *= d;
    const size_t begin = data.size();
    const Amplitude a = AmplitudeOf(tensor.name);
    for (int64_t e = 0; e < elements; ++e) {
      const float value = SynthValue(number, e, a.amplitude, a.offset);
      data.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    header["model." + tensor.name] = {{"dtype", "F32"},
                                      {"shape", tensor.shape},
                                      {"data_offsets", {begin, data.size()}}};
    ++number;
  }
  return Safetensors(header.dump(), data);
}

TEST(SpecGolden, LogitsAndArgmax_AreThePages) {
  const TempDir dir;
  const std::string hf = dir.Unused("hf");
  ASSERT_EQ(mkdir(hf.c_str(), 0755), 0);
  WriteBytes(hf + "/config.json",
             ReadBytes(absl::StrCat(kFolder, "config.json")));
  WriteBytes(hf + "/model.safetensors", SpecCheckpoint());
  const auto packed = PackFolder(dir, hf, kernels::DType::kF32);
  ASSERT_TRUE(packed.ok()) << packed.status();
  auto runner = TextRunner::Open(*packed, {});
  ASSERT_TRUE(runner.ok()) << runner.status();

  const auto golden =
      ParseJson(ReadBytes(absl::StrCat(kFolder, "golden.json")), "golden");
  ASSERT_TRUE(golden.ok()) << golden.status();
  const auto ids =
      golden->at("prompts").at(0).at("ids").get<std::vector<int32_t>>();
  RunningSequence sequence = (*runner)->Start(ids.size());
  const LogitRows logits =
      (*runner)->Feed(&sequence, ids, 512, TextRunner::Outputs::kAll);

  std::vector<int32_t> argmax;
  double sum = 0, squares = 0;
  for (const std::vector<float>& row : logits) {
    argmax.push_back(Argmax(row, row.size()));
    for (float logit : row) {
      sum += logit;
      squares += logit * logit;
    }
  }
  EXPECT_EQ(argmax, golden->at("argmax").get<std::vector<int32_t>>());
  // As printed in the page; its own float32 run deviates by 1.7e-5 a logit.
  EXPECT_NEAR(sum, 21.627580, 4480 * 1.7e-5);
  EXPECT_NEAR(squares, 1846.589693, 0.05);
  const double printed[3][6] = {
      {0.605995, 0.279858, 0.539419, -0.756359, 0.083180, -0.407064},
      {0.186745, -1.232586, 0.468490, -0.128986, -0.918449, -0.133799},
      {-0.250670, -0.105991, -0.092153, -0.038763, -0.842066, 0.753601}};
  const int positions[3] = {0, 5, 13};
  for (int p = 0; p < 3; ++p) {
    for (int i = 0; i < 6; ++i) {
      EXPECT_NEAR(logits[positions[p]][i], printed[p][i], 6e-5);
    }
  }
}

}  // namespace
}  // namespace lapidary
