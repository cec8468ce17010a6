#include "storage/synth.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "kernels/audio/weights.h"
#include "kernels/bf16.h"
#include "kernels/text/weights.h"
#include "kernels/vision/weights.h"
#include "storage/file_io.h"
#include "storage/json.h"
#include "storage/model_config.h"
#include "storage/model_files.h"

namespace lapidary {
namespace {

using kernels::DType;
using kernels::text::TensorSpec;
using kernels::text::TextConfig;

// Elements made by each of two threads before both are written.
constexpr int64_t kBatchElements = int64_t{2} << 20;

constexpr char kWithVision[] = "+vision";
constexpr char kWithAudio[] = "+audio";

struct Range {
  double amplitude;
  double offset;
};

uint32_t Fnv1a(absl::string_view text) {
  uint32_t hash = 2166136261u;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  }
  return hash;
}

bool IsTowerTensor(absl::string_view name) {
  return kernels::vision::IsVisionTensor(name) ||
         kernels::audio::IsAudioTensor(name);
}

// Of a tower's or its embedder's tensor: norms and layer scales are far from 1
// and 0, and convolutions keep the variance of their inputs.
Range TowerRangeOf(const TensorSpec& spec) {
  if (absl::EndsWith(spec.name, ".gamma")) return {0.2, 0.5};
  if (absl::EndsWith(spec.name, ".bias")) return {0.2 * std::sqrt(3.0), 0.0};
  if (absl::EndsWith(spec.name, "per_dim_scale")) return {0.5, 0.0};
  if (absl::StartsWith(spec.name, "embed_") &&
      absl::EndsWith(spec.name, ".embedding.weight")) {
    return {std::sqrt(3.0), 0.0};
  }
  if (spec.shape.size() == 1) return {0.5, 1.0};  // a norm
  double fan_in = 1;
  for (size_t i = 1; i < spec.shape.size(); ++i) {
    fan_in *= static_cast<double>(spec.shape[i]);
  }
  return {std::sqrt(3.0) / std::sqrt(fan_in), 0.0};
}

// Uniform values whose spread keeps every activation of the decoder lively: a
// matrix [out][in] keeps the variance of its input.
Range RangeOf(const TensorSpec& spec, const TextConfig& c) {
  const absl::string_view name = spec.name;
  if (IsTowerTensor(name)) return TowerRangeOf(spec);
  const double hidden = static_cast<double>(c.hidden_size);
  if (absl::EndsWith(name, ".q_norm.weight") ||
      absl::EndsWith(name, ".k_norm.weight")) {
    // Attention scores are not scaled, so the norms must not grow with D.
    const double offset =
        1.4 * std::pow(static_cast<double>(c.head_dim), -0.25);
    return {offset * 0.5, offset};
  }
  if (absl::EndsWith(name, "norm.weight") ||
      absl::EndsWith(name, "altup.correct_output_scale")) {
    return {0.5, 1.0};
  }
  if (absl::EndsWith(name, "altup.modality_router.weight")) {
    return {0.5 * std::sqrt(hidden), 0.0};
  }
  if (absl::EndsWith(name, "altup.prediction_coefs.weight") ||
      absl::EndsWith(name, "altup.correction_coefs.weight")) {
    return {0.25, 0.0};
  }
  if (name == "embed_tokens.weight") {
    return {3.0 * std::sqrt(3.0) / std::sqrt(hidden), 0.0};
  }
  if (name == "embed_tokens_per_layer.weight") {
    return {std::sqrt(3.0) /
                std::sqrt(static_cast<double>(c.hidden_size_per_layer_input)),
            0.0};
  }
  return {std::sqrt(3.0) / std::sqrt(static_cast<double>(spec.shape.back())),
          0.0};
}

// Elements [first, first + count) of a tensor, to `out` in `dtype`.
void Generate(uint32_t tensor_number, Range range, DType dtype, uint32_t first,
              int64_t count, void* out) {
  if (dtype == DType::kBf16) {
    auto* bits = static_cast<uint16_t*>(out);
    for (int64_t i = 0; i < count; ++i) {
      bits[i] = kernels::FloatToBf16(
          SynthValue(tensor_number, first + static_cast<uint32_t>(i),
                     range.amplitude, range.offset));
    }
  } else {
    auto* values = static_cast<float*>(out);
    for (int64_t i = 0; i < count; ++i) {
      values[i] = SynthValue(tensor_number, first + static_cast<uint32_t>(i),
                             range.amplitude, range.offset);
    }
  }
}

uint64_t Elements(const TensorSpec& spec) {
  uint64_t elements = 1;
  for (const int64_t dim : spec.shape) elements *= dim;
  return elements;
}

// Tensors that go into one file.
struct Shard {
  std::string file;
  std::vector<const TensorSpec*> tensors;
  uint64_t bytes = 0;
};

std::vector<Shard> SplitIntoShards(const std::vector<TensorSpec>& specs,
                                   DType dtype, uint64_t shard_bytes) {
  std::vector<Shard> shards(1);
  for (const TensorSpec& spec : specs) {
    const uint64_t bytes = Elements(spec) * SizeOf(dtype);
    if (!shards.back().tensors.empty() &&
        shards.back().bytes + bytes > shard_bytes) {
      shards.emplace_back();
    }
    shards.back().tensors.push_back(&spec);
    shards.back().bytes += bytes;
  }
  for (size_t i = 0; i < shards.size(); ++i) {
    shards[i].file = shards.size() == 1
                         ? "model.safetensors"
                         : absl::StrFormat("model-%05d-of-%05d.safetensors",
                                           i + 1, shards.size());
  }
  return shards;
}

// Writes one checkpoint; holds what its steps share.
class Writer {
 public:
  explicit Writer(const SynthOptions& options) : options_(options) {}

  absl::Status Run();

 private:
  absl::Status PrepareTarget();
  absl::Status WriteShard(const Shard& shard);
  absl::Status WriteTensor(const TensorSpec& spec, FileWriter* file);
  absl::Status WriteIndex(const std::vector<Shard>& shards);
  absl::Status WriteConfigs();
  std::string StoredName(const TensorSpec& spec) const {
    return absl::StrCat(IsTowerTensor(spec.name) ? "model." : prefix_,
                        spec.name);
  }
  std::string Path(absl::string_view name) const {
    return absl::StrCat(options_.target, "/", name);
  }

  const SynthOptions& options_;
  ModelConfig config_;
  std::string prefix_;
  uint64_t bytes_done_ = 0;
  uint64_t bytes_total_ = 0;
  std::array<std::vector<std::byte>, 2> buffers_;
};

absl::Status Writer::PrepareTarget() {
  if (auto s = MakeFolder(options_.target); !s.ok()) return s;
  absl::StatusOr<std::vector<std::string>> names = ListFolder(options_.target);
  if (!names.ok()) return names.status();
  if (!names->empty()) {
    return absl::AlreadyExistsError(
        absl::StrCat(options_.target, " is not empty (it holds ",
                     names->front(), "); give a new folder"));
  }
  return CheckFreeSpace(options_.target, bytes_total_ + (uint64_t{1} << 20),
                        "the checkpoint");
}

absl::Status Writer::WriteTensor(const TensorSpec& spec, FileWriter* file) {
  const uint32_t number = Fnv1a(spec.name) ^ options_.seed;
  const Range range = RangeOf(spec, config_.text);
  const DType dtype = options_.dtype;
  const size_t width = SizeOf(dtype);
  const int64_t elements = static_cast<int64_t>(Elements(spec));
  for (int64_t first = 0; first < elements; first += 2 * kBatchElements) {
    const int64_t mine = std::min(kBatchElements, elements - first);
    const int64_t others = std::min(kBatchElements, elements - first - mine);
    std::thread other;
    if (others > 0) {
      other = std::thread([&, this] {
        Generate(number, range, dtype, static_cast<uint32_t>(first + mine),
                 others, buffers_[1].data());
      });
    }
    Generate(number, range, dtype, static_cast<uint32_t>(first), mine,
             buffers_[0].data());
    if (other.joinable()) other.join();
    if (auto s = file->Append(buffers_[0].data(), mine * width); !s.ok()) {
      return s;
    }
    if (auto s = file->Append(buffers_[1].data(), others * width); !s.ok()) {
      return s;
    }
    bytes_done_ += (mine + others) * width;
    if (options_.progress) {
      options_.progress(spec.name, bytes_done_, bytes_total_);
    }
  }
  return absl::OkStatus();
}

absl::Status Writer::WriteShard(const Shard& shard) {
  // The header wants its keys in some order; file order reads best.
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};
  uint64_t offset = 0;
  for (const TensorSpec* spec : shard.tensors) {
    const uint64_t end = offset + Elements(*spec) * SizeOf(options_.dtype);
    header[StoredName(*spec)] = {
        {"dtype", options_.dtype == DType::kBf16 ? "BF16" : "F32"},
        {"shape", spec->shape},
        {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');

  auto file = FileWriter::Create(Path(shard.file));
  if (!file.ok()) return file.status();
  std::array<unsigned char, 8> length;
  for (int i = 0; i < 8; ++i) length[i] = (text.size() >> (8 * i)) & 0xFF;
  if (auto s = (*file)->Append(length.data(), length.size()); !s.ok()) {
    return s;
  }
  if (auto s = (*file)->Append(text.data(), text.size()); !s.ok()) return s;
  for (const TensorSpec* spec : shard.tensors) {
    if (auto s = WriteTensor(*spec, file->get()); !s.ok()) return s;
  }
  return (*file)->Finish();
}

absl::Status Writer::WriteIndex(const std::vector<Shard>& shards) {
  if (shards.size() == 1) return absl::OkStatus();
  Json index;
  index["metadata"]["total_size"] = bytes_total_;
  for (const Shard& shard : shards) {
    for (const TensorSpec* spec : shard.tensors) {
      index["weight_map"][StoredName(*spec)] = shard.file;
    }
  }
  return WriteFileAtomically(Path(kIndexFile), index.dump(2) + "\n");
}

// config.json comes last: a folder without it is no checkpoint.
absl::Status Writer::WriteConfigs() {
  if (!options_.tokenizer_source.empty()) {
    for (const char* name : kTokenizerFiles) {
      const std::string from =
          absl::StrCat(options_.tokenizer_source, "/", name);
      absl::StatusOr<std::string> content = ReadFile(from, kMaxSideFileBytes);
      if (absl::IsNotFound(content.status())) continue;
      if (!content.ok()) return content.status();
      if (auto s = WriteFileAtomically(Path(name), *content); !s.ok()) {
        return s;
      }
    }
  }
  const Json generation = {{"bos_token_id", config_.text.bos_token_id},
                           {"eos_token_id", config_.generation.eos_token_ids},
                           {"pad_token_id", config_.text.pad_token_id}};
  if (auto s = WriteFileAtomically(Path(kGenerationConfigFile),
                                   generation.dump(2) + "\n");
      !s.ok()) {
    return s;
  }
  return WriteFileAtomically(Path(kConfigFile), options_.config_json);
}

absl::Status Writer::Run() {
  if (options_.dtype != DType::kBf16 && options_.dtype != DType::kF32) {
    return absl::InvalidArgumentError(
        "synth writes bf16 or f32 checkpoints only");
  }
  absl::StatusOr<ModelConfig> config = ParseModelConfig(options_.config_json);
  if (!config.ok()) return config.status();
  config_ = *std::move(config);
  if (config_.has_vision && !config_.vision.ok()) {
    return config_.vision.status();
  }
  if (config_.has_audio && !config_.audio.ok()) return config_.audio.status();
  prefix_ = config_.architecture == "Gemma3nForCausalLM"
                ? "model."
                : "model.language_model.";
  std::vector<TensorSpec> specs = TextTensorSpecs(config_.text);
  if (config_.has_vision) {
    for (auto& spec : VisionTensorSpecs(*config_.vision)) {
      spec.packed.shape = std::move(spec.shape);
      specs.push_back(std::move(spec.packed));
    }
  }
  if (config_.has_audio) {
    for (auto& spec : AudioTensorSpecs(*config_.audio)) {
      spec.packed.shape = std::move(spec.shape);
      specs.push_back(std::move(spec.packed));
    }
  }
  for (const TensorSpec& spec : specs) {
    if (Elements(spec) > std::numeric_limits<uint32_t>::max()) {
      return absl::InvalidArgumentError(
          absl::StrCat(spec.name, " would have ", Elements(spec),
                       " elements: synth numbers them with 32 bits; give a "
                       "smaller shape"));
    }
    bytes_total_ += Elements(spec) * SizeOf(options_.dtype);
  }
  if (auto s = PrepareTarget(); !s.ok()) return s;

  const size_t largest = [&] {
    uint64_t most = 0;
    for (const TensorSpec& spec : specs) most = std::max(most, Elements(spec));
    return std::min<uint64_t>(most, kBatchElements);
  }();
  for (auto& buffer : buffers_) buffer.resize(largest * sizeof(float));
  const std::vector<Shard> shards =
      SplitIntoShards(specs, options_.dtype, options_.shard_bytes);
  for (const Shard& shard : shards) {
    if (auto s = WriteShard(shard); !s.ok()) return s;
  }
  if (auto s = WriteIndex(shards); !s.ok()) return s;
  return WriteConfigs();
}

}  // namespace

float SynthValue(uint32_t tensor_number, uint32_t index, double amplitude,
                 double offset) {
  uint32_t x = index + 1 + 0x9E3779B9u * (tensor_number + 1);
  x ^= x >> 16;
  x *= 0x7FEB352Du;
  x ^= x >> 15;
  x *= 0x846CA68Bu;
  x ^= x >> 16;
  // (x/2^32 - 0.5)·2 exactly, by way of a signed number, which converts to
  // double faster than an unsigned one.
  const double unit =
      static_cast<double>(static_cast<int32_t>(x ^ 0x80000000u)) *
      (1.0 / 2147483648.0);
  return static_cast<float>(unit * amplitude + offset);
}

bool IsSynthShape(absl::string_view name) {
  absl::ConsumeSuffix(&name, kWithAudio);
  absl::ConsumeSuffix(&name, kWithVision);
  return name == "e2b" || name == "e4b";
}

absl::StatusOr<std::string> SynthShape(absl::string_view name) {
  if (!IsSynthShape(name)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "unknown shape \"", name, "\"; give e2b, e4b, either with ",
        kWithVision, ", ", kWithAudio, " or ", kWithVision, kWithAudio,
        ", or the path of a config.json"));
  }
  const bool e4b = absl::StartsWith(name, "e4b");
  const int layers = e4b ? 35 : 30;
  nlohmann::ordered_json text;
  text["model_type"] = "gemma3n_text";
  text["vocab_size"] = 262400;
  text["vocab_size_per_layer_input"] = 262144;
  text["hidden_size"] = 2048;
  text["hidden_size_per_layer_input"] = 256;
  text["intermediate_size"] = std::vector<int>(layers, e4b ? 16384 : 8192);
  text["num_hidden_layers"] = layers;
  text["num_attention_heads"] = 8;
  text["num_key_value_heads"] = 2;
  text["head_dim"] = 256;
  text["hidden_activation"] = "gelu_pytorch_tanh";
  text["max_position_embeddings"] = 32768;
  text["rms_norm_eps"] = 1e-6;
  text["rope_theta"] = 1000000.0;
  text["rope_local_base_freq"] = 10000.0;
  text["rope_scaling"] = nullptr;
  text["attention_bias"] = false;
  text["attention_dropout"] = 0.0;
  text["sliding_window"] = 512;
  text["num_kv_shared_layers"] = e4b ? 15 : 10;
  text["final_logit_softcapping"] = 30.0;
  text["altup_num_inputs"] = 4;
  text["altup_active_idx"] = 0;
  text["altup_coef_clip"] = 120.0;
  text["altup_correct_scale"] = true;
  text["laurel_rank"] = 64;
  text["pad_token_id"] = 0;
  text["eos_token_id"] = 1;
  text["bos_token_id"] = 2;
  for (int layer = 0; layer < layers; ++layer) {
    text["layer_types"].push_back((layer + 1) % 5 == 0 ? "full_attention"
                                                       : "sliding_attention");
    text["activation_sparsity_pattern"].push_back(layer < 10 ? 0.95 : 0.0);
  }
  nlohmann::ordered_json config;
  config["architectures"] = {"Gemma3nForConditionalGeneration"};
  config["model_type"] = "gemma3n";
  config["eos_token_id"] = {1, 106};
  config["boi_token_id"] = 255999;
  config["eoi_token_id"] = 262144;
  config["image_token_id"] = 262145;
  config["boa_token_id"] = 256000;
  config["eoa_token_id"] = 262272;
  config["audio_token_id"] = 262273;
  config["vision_soft_tokens_per_image"] = 256;
  config["audio_soft_tokens_per_image"] = 188;
  config["tie_word_embeddings"] = true;
  config["torch_dtype"] = "bfloat16";
  config["text_config"] = std::move(text);
  if (absl::StrContains(name, kWithVision)) {
    config["vision_config"] = {{"model_type", "gemma3n_vision"},
                               {"architecture", "mobilenetv5_300m_enc"},
                               {"hidden_size", 2048},
                               {"vocab_size", 128},
                               {"vocab_offset", 262144},
                               {"rms_norm_eps", 1e-6}};
  }
  if (absl::EndsWith(name, kWithAudio)) {
    config["audio_config"] = {{"model_type", "gemma3n_audio"},
                              {"hidden_size", 1536},
                              {"input_feat_size", 128},
                              {"conf_num_hidden_layers", 12},
                              {"vocab_size", 128},
                              {"vocab_offset", 262272},
                              {"rms_norm_eps", 1e-6}};
  }
  return config.dump(2) + "\n";
}

absl::Status Synthesize(const SynthOptions& options) {
  return Writer(options).Run();
}

}  // namespace lapidary
