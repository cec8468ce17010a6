#include "tests/support/memory_tower.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/conv/tap_order.h"
#include "kernels/gemm/weight_layout.h"
#include "kernels/quant/quantized_row.h"

namespace lapidary {
namespace {

using kernels::AlignedBuffer;
using kernels::DType;
using kernels::audio::AudioConfig;
using kernels::audio::AudioTensorSpec;
using kernels::audio::AudioWeights;
using kernels::text::PackedTensor;
using kernels::text::TensorUse;

constexpr char kSubsample[] = "audio_tower.subsample_conv_projection.";

struct Owned {
  std::map<std::string, PackedTensor, std::less<>> tensors;
  std::vector<std::shared_ptr<AlignedBuffer>> buffers;
  AudioWeights weights;
};

std::shared_ptr<AlignedBuffer> PackTensor(const AudioTensorSpec& spec,
                                          const std::vector<float>& values,
                                          DType dtype) {
  std::vector<float> ordered = values;
  if (spec.permuted()) {
    ReorderTaps(spec.order(), values.data(), ordered.data());
  }
  if (spec.packed.use == TensorUse::kPlain) {
    auto buffer = AlignedBuffer::Make(ordered.size() * sizeof(float));
    std::memcpy(buffer->data(), ordered.data(), buffer->size());
    return buffer;
  }
  const int64_t n = spec.packed.shape[0], k = spec.packed.shape[1];
  auto buffer = AlignedBuffer::Make(*kernels::WeightMatrixBytes(dtype, n, k));
  const int64_t step = kernels::WeightPanelRows(dtype);
  const size_t panel = *kernels::WeightPanelBytes(dtype, k);
  for (int64_t row = 0; row < n; row += step) {
    PackWeightPanel(DType::kF32, &ordered[row * k], std::min(step, n - row), k,
                    dtype, buffer->data() + row / step * panel);
  }
  return buffer;
}

int64_t Elements(const AudioTensorSpec& spec) {
  int64_t count = 1;
  for (const int64_t size : spec.shape) count *= size;
  return count;
}

}  // namespace

AudioConfig MiniAudioConfig() {
  AudioConfig c;
  c.mel.feature_size = 32;
  c.sscp_conv[0].channels = 16;
  c.sscp_conv[1].channels = 8;
  c.hidden_size = 32;
  c.conf_num_attention_heads = 4;
  c.conf_num_hidden_layers = 2;
  c.conf_attention_context_left = 5;
  c.conf_conv_kernel_size = 3;
  c.vocab_size = 8;
  c.text_hidden_size = 16;
  return c;
}

AudioConfig RealFrontAudioConfig() {
  AudioConfig c;
  c.hidden_size = 64;
  c.conf_num_attention_heads = 8;
  c.conf_num_hidden_layers = 3;
  c.vocab_size = 8;
  c.text_hidden_size = 16;
  return c;
}

double TorchUniform(std::mt19937* generator) {
  return static_cast<double>((*generator)() & 0xFFFFFF) / 16777216.0;
}

std::vector<float> NoiseSamples(uint32_t seed, int64_t count,
                                double amplitude) {
  std::mt19937 generator(seed);
  std::vector<float> samples(count);
  for (float& sample : samples) {
    sample = static_cast<float>(amplitude * (2 * TorchUniform(&generator) - 1));
  }
  return samples;
}

MemoryTower::MemoryTower(const AudioConfig& config) : config_(config) {
  for (const AudioTensorSpec& spec : AudioTensorSpecs(config)) {
    const bool norm = absl::EndsWith(spec.packed.name, "norm.weight");
    values_[spec.packed.name].assign(Elements(spec), norm ? 1.0f : 0.0f);
  }
}

void MemoryTower::DrawLikeTorch(uint32_t seed) {
  std::mt19937 generator(seed);
  std::map<std::string, int64_t> fan_in;
  for (const AudioTensorSpec& spec : AudioTensorSpecs(config_)) {
    fan_in[spec.packed.name] = Elements(spec) / spec.shape[0];
  }
  const auto draw = [&](const std::string& name) {
    const auto high = static_cast<float>(
        1.0 / std::sqrt(static_cast<double>(fan_in.at(name))));
    const float low = -high;
    for (float& value : at(name)) {
      value = static_cast<float>(TorchUniform(&generator) *
                                     static_cast<double>(high - low) +
                                 static_cast<double>(low));
    }
  };
  draw(absl::StrCat(kSubsample, "conv_0.conv.weight"));
  draw(absl::StrCat(kSubsample, "conv_1.conv.weight"));
  draw(absl::StrCat(kSubsample, "input_proj_linear.weight"));
  for (int64_t block = 0; block < config_.conf_num_hidden_layers; ++block) {
    for (const char* name :
         {"ffw_layer_start.ffw_layer_1", "ffw_layer_start.ffw_layer_2",
          "attention.attn.relative_position_embedding.pos_proj",
          "attention.attn.q_proj", "attention.attn.k_proj",
          "attention.attn.v_proj", "attention.post", "lconv1d.linear_start",
          "lconv1d.depthwise_conv1d", "lconv1d.linear_end",
          "ffw_layer_end.ffw_layer_1", "ffw_layer_end.ffw_layer_2"}) {
      draw(absl::StrCat("audio_tower.conformer.", block, ".", name, ".weight"));
    }
  }
}

void MemoryTower::MakeLively() {
  for (auto& [name, values] : values_) {
    if (!absl::StartsWith(name, "audio_tower.")) continue;
    const float factor = absl::EndsWith(name, "q_proj.weight")     ? 8.0f
                         : absl::EndsWith(name, "k_proj.weight")   ? 4.0f
                         : absl::EndsWith(name, "pos_proj.weight") ? 4.0f
                                                                   : 1.0f;
    for (float& value : values) value *= factor;
    if (!absl::EndsWith(name, "norm.weight")) continue;
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<float>(1 + 0.05 * (static_cast<int>(i % 7) - 3));
    }
  }
  for (int64_t block = 0; block < config_.conf_num_hidden_layers; ++block) {
    auto& scale = at(absl::StrCat("audio_tower.conformer.", block,
                                  ".attention.attn.per_dim_scale"));
    for (size_t i = 0; i < scale.size(); ++i) {
      scale[i] = static_cast<float>(0.3 * (static_cast<int>(i % 5) - 2) +
                                    0.1 * static_cast<double>(block));
    }
  }
}

void MemoryTower::FillEmbedder() {
  const int64_t hidden = config_.hidden_size;
  auto& rows = at("embed_audio.embedding.weight");
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto r = static_cast<double>(i / hidden);
    const auto c = static_cast<double>(i % hidden);
    rows[i] = static_cast<float>(std::sin(0.1 * (r + 1) * (c + 1)));
  }
  auto& projection = at("embed_audio.embedding_projection.weight");
  for (size_t i = 0; i < projection.size(); ++i) {
    const auto o = static_cast<double>(i / hidden);
    const auto c = static_cast<double>(i % hidden);
    projection[i] = static_cast<float>(std::cos(0.05 * (o + 1) * (c + 1)));
  }
  for (int64_t i = 0; i < hidden; ++i) {
    const double away = 0.05 * (static_cast<int>(i % 7) - 3);
    at("embed_audio.soft_embedding_norm.weight")[i] =
        static_cast<float>(1 + away);
    at("embed_audio.hard_embedding_norm.weight")[i] =
        static_cast<float>(1 - away);
  }
}

absl::StatusOr<std::shared_ptr<const AudioWeights>> MemoryTower::Bind(
    DType dtype, const std::map<std::string, DType>& others) const {
  auto owned = std::make_shared<Owned>();
  for (const AudioTensorSpec& spec : AudioTensorSpecs(config_)) {
    const bool plain = spec.packed.use == TensorUse::kPlain;
    const auto other = others.find(spec.packed.name);
    PackedTensor tensor;
    tensor.dtype = plain                                        ? DType::kF32
                   : other != others.end()                      ? other->second
                   : kernels::audio::IsAudioLinear(spec.packed) ? dtype
                   : kernels::IsQuantized(dtype)                ? DType::kBf16
                                                                : dtype;
    owned->buffers.push_back(
        PackTensor(spec, values_.at(spec.packed.name), tensor.dtype));
    tensor.use = spec.packed.use;
    tensor.shape = spec.packed.shape;
    tensor.data = owned->buffers.back()->data();
    owned->tensors.emplace(spec.packed.name, std::move(tensor));
  }
  absl::StatusOr<AudioWeights> weights = BindAudioWeights(
      config_, [&](absl::string_view name) -> absl::StatusOr<PackedTensor> {
        const auto found = owned->tensors.find(name);
        if (found == owned->tensors.end()) return absl::NotFoundError(name);
        return found->second;
      });
  if (!weights.ok()) return weights.status();
  owned->weights = *std::move(weights);
  return std::shared_ptr<const AudioWeights>(owned, &owned->weights);
}

}  // namespace lapidary
