#include "kernels/audio/weights.h"

#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/simd/row_ops.h"
#include "kernels/text/tensor_binder.h"

namespace lapidary::kernels::audio {
namespace {

using text::TensorBinder;
using text::TensorLookup;
using text::TensorSpec;
using text::TensorUse;

constexpr char kTower[] = "audio_tower.";
constexpr char kEmbedder[] = "embed_audio.";
constexpr char kSubsample[] = "audio_tower.subsample_conv_projection.";
constexpr char kSecondConv[] = "conv_1.conv.weight";
constexpr char kPositionProjection[] =
    "attention.attn.relative_position_embedding.pos_proj.weight";

// Lists tensors; the calls read as the checkpoint's inventory.
class SpecList {
 public:
  void Plain(const std::string& name, const std::vector<int64_t>& shape) {
    Add(name, shape, TensorUse::kPlain, shape);
  }
  void Matrix(const std::string& name, int64_t out, int64_t in) {
    Add(name, {out, in}, TensorUse::kGemm, {out, in});
  }
  // Of one input channel, and kPlain: its products are too short for a matrix.
  void FirstConv(const std::string& name, const SubsampleConfig& conv) {
    Add(name, {conv.channels, 1, conv.time_kernel, conv.frequency_kernel},
        TensorUse::kPlain,
        {conv.time_kernel * conv.frequency_kernel, conv.channels});
  }
  void Conv(const std::string& name, const SubsampleConfig& conv, int64_t in) {
    Add(name, {conv.channels, in, conv.time_kernel, conv.frequency_kernel},
        TensorUse::kGemm,
        {conv.channels, conv.time_kernel * conv.frequency_kernel * in});
  }
  void Depthwise(const std::string& name, int64_t channels, int64_t kernel) {
    Add(name, {channels, 1, kernel}, TensorUse::kPlain, {kernel, channels});
  }
  std::vector<AudioTensorSpec> Take() { return std::move(specs_); }

 private:
  void Add(const std::string& name, std::vector<int64_t> shape, TensorUse use,
           std::vector<int64_t> packed) {
    specs_.push_back(
        {TensorSpec{name, std::move(packed), use, -1}, std::move(shape)});
  }
  std::vector<AudioTensorSpec> specs_;
};

std::string BlockName(int64_t block) {
  return absl::StrCat(kTower, "conformer.", block, ".");
}

void AppendFfw(const AudioConfig& c, const std::string& at, SpecList* list) {
  list->Plain(at + "pre_layer_norm.weight", {c.hidden_size});
  list->Matrix(at + "ffw_layer_1.weight", c.ffw_size(), c.hidden_size);
  list->Matrix(at + "ffw_layer_2.weight", c.hidden_size, c.ffw_size());
  list->Plain(at + "post_layer_norm.weight", {c.hidden_size});
}

void AppendBlock(const AudioConfig& c, const std::string& at, SpecList* list) {
  const int64_t hidden = c.hidden_size;
  AppendFfw(c, at + "ffw_layer_start.", list);
  list->Plain(at + "attention.pre_attn_norm.weight", {hidden});
  list->Plain(at + "attention.attn.per_dim_scale", {c.head_dim()});
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
    list->Matrix(absl::StrCat(at, "attention.attn.", name, ".weight"), hidden,
                 hidden);
  }
  list->Matrix(at + kPositionProjection, hidden, hidden);
  list->Matrix(at + "attention.post.weight", hidden, hidden);
  list->Plain(at + "attention.post_norm.weight", {hidden});
  list->Plain(at + "lconv1d.pre_layer_norm.weight", {hidden});
  list->Matrix(at + "lconv1d.linear_start.weight", 2 * hidden, hidden);
  list->Depthwise(at + "lconv1d.depthwise_conv1d.weight", hidden,
                  c.conf_conv_kernel_size);
  list->Plain(at + "lconv1d.conv_norm.weight", {hidden});
  list->Matrix(at + "lconv1d.linear_end.weight", hidden, hidden);
  AppendFfw(c, at + "ffw_layer_end.", list);
  list->Plain(at + "norm.weight", {hidden});
}

// Hugging Face's sinusoids of a distance in frames: sines, then cosines.
std::vector<float> Timing(int64_t distance, int64_t hidden) {
  const int64_t half = hidden / 2;
  const double step =
      std::log(1e4) / static_cast<double>(std::max<int64_t>(half - 1, 1));
  std::vector<float> timing(hidden);
  for (int64_t i = 0; i < half; ++i) {
    const auto scale = static_cast<float>(std::exp(-step * i));
    const float angle = static_cast<float>(distance) * scale;
    timing[i] = std::sin(angle);
    timing[half + i] = std::cos(angle);
  }
  return timing;
}

// W_pos timing(r) for every distance r (gemma3n-audio.md §3.5).
std::vector<float> Positions(const AudioConfig& c, const WeightMatrix& w) {
  const int64_t hidden = c.hidden_size;
  std::vector<std::vector<float>> timings;
  for (int64_t r = 0; r < c.attention_keys(); ++r) {
    timings.push_back(Timing(r, hidden));
  }
  std::vector<float> positions(c.attention_keys() * hidden);
  std::vector<float> row(hidden);
  for (int64_t i = 0; i < hidden; ++i) {
    w.ReadRow(i, row.data());
    for (int64_t r = 0; r < c.attention_keys(); ++r) {
      positions[r * hidden + i] = Dot(row.data(), timings[r].data(), hidden);
    }
  }
  return positions;
}

std::vector<float> QueryScale(const AudioConfig& c, const float* per_dim) {
  const double scale =
      1.0 / std::sqrt(static_cast<double>(c.head_dim())) / std::log(2.0);
  std::vector<float> scales(c.head_dim());
  for (int64_t i = 0; i < c.head_dim(); ++i) {
    scales[i] = static_cast<float>(scale * std::log1p(std::exp(per_dim[i])));
  }
  return scales;
}

FfwWeights BindFfw(const AudioConfig& c, const std::string& at,
                   TensorBinder* bind) {
  FfwWeights w;
  w.pre_layer_norm = bind->Plain(at + "pre_layer_norm.weight");
  w.ffw_layer_1 = bind->Linear(at + "ffw_layer_1.weight");
  w.ffw_layer_2 = bind->Linear(at + "ffw_layer_2.weight");
  const float* post = bind->Plain(at + "post_layer_norm.weight");
  if (bind->status().ok()) {
    for (int64_t i = 0; i < c.hidden_size; ++i) {
      w.branch_scale.push_back(c.conf_residual_weight * post[i]);
    }
  }
  return w;
}

ConformerWeights BindBlock(const AudioConfig& c, const std::string& at,
                           TensorBinder* bind) {
  ConformerWeights w;
  w.ffw_start = BindFfw(c, at + "ffw_layer_start.", bind);
  w.pre_attn_norm = bind->Plain(at + "attention.pre_attn_norm.weight");
  const float* per_dim = bind->Plain(at + "attention.attn.per_dim_scale");
  w.q_proj = bind->Linear(at + "attention.attn.q_proj.weight");
  w.k_proj = bind->Linear(at + "attention.attn.k_proj.weight");
  w.v_proj = bind->Linear(at + "attention.attn.v_proj.weight");
  const WeightMatrix position = bind->Gemm(at + kPositionProjection);
  w.post = bind->Linear(at + "attention.post.weight");
  w.post_norm = bind->Plain(at + "attention.post_norm.weight");
  w.lconv_pre_layer_norm = bind->Plain(at + "lconv1d.pre_layer_norm.weight");
  w.linear_start = bind->Linear(at + "lconv1d.linear_start.weight");
  w.depthwise = bind->Plain(at + "lconv1d.depthwise_conv1d.weight");
  w.conv_norm = bind->Plain(at + "lconv1d.conv_norm.weight");
  w.linear_end = bind->Linear(at + "lconv1d.linear_end.weight");
  w.ffw_end = BindFfw(c, at + "ffw_layer_end.", bind);
  w.norm = bind->Plain(at + "norm.weight");
  if (bind->status().ok()) {
    w.query_scale = QueryScale(c, per_dim);
    w.positions = Positions(c, position);
  }
  return w;
}

}  // namespace

std::vector<AudioTensorSpec> AudioTensorSpecs(const AudioConfig& config) {
  SpecList list;
  const std::string subsample = kSubsample, embedder = kEmbedder;
  const auto& conv = config.sscp_conv;
  list.FirstConv(subsample + "conv_0.conv.weight", conv[0]);
  list.Plain(subsample + "conv_0.norm.weight", {conv[0].channels});
  list.Conv(subsample + kSecondConv, conv[1], conv[0].channels);
  list.Plain(subsample + "conv_1.norm.weight", {conv[1].channels});
  list.Matrix(subsample + "input_proj_linear.weight", config.hidden_size,
              config.subsampled_size());
  for (int64_t block = 0; block < config.conf_num_hidden_layers; ++block) {
    AppendBlock(config, BlockName(block), &list);
  }
  list.Plain(embedder + "embedding.weight",
             {config.vocab_size, config.hidden_size});
  list.Plain(embedder + "hard_embedding_norm.weight", {config.hidden_size});
  list.Plain(embedder + "soft_embedding_norm.weight", {config.hidden_size});
  list.Matrix(embedder + "embedding_projection.weight", config.text_hidden_size,
              config.hidden_size);
  return list.Take();
}

bool IsAudioTensor(absl::string_view name) {
  return absl::StartsWith(name, kTower) || absl::StartsWith(name, kEmbedder);
}

bool IsAudioLinear(const text::TensorSpec& spec) {
  return IsAudioTensor(spec.name) && spec.use == TensorUse::kGemm &&
         !absl::EndsWith(spec.name, kSecondConv) &&
         !absl::EndsWith(spec.name, kPositionProjection);
}

bool IsUnusedAudioTensor(absl::string_view name) {
  return name == "embed_audio.embedding_post_projection_norm.weight";
}

absl::StatusOr<AudioWeights> BindAudioWeights(const AudioConfig& config,
                                              const TensorLookup& lookup) {
  TensorBinder bind(AudioTensorSpecs(config), lookup);
  const std::string subsample = kSubsample, embedder = kEmbedder;
  AudioWeights w;
  w.config = config;
  w.conv_0 = bind.Plain(subsample + "conv_0.conv.weight");
  w.conv_0_norm = bind.Plain(subsample + "conv_0.norm.weight");
  w.conv_1 = bind.Gemm(subsample + kSecondConv);
  w.conv_1_norm = bind.Plain(subsample + "conv_1.norm.weight");
  w.input_proj_linear = bind.Linear(subsample + "input_proj_linear.weight");
  for (int64_t block = 0; block < config.conf_num_hidden_layers; ++block) {
    w.conformer.push_back(BindBlock(config, BlockName(block), &bind));
  }
  w.hard_embedding = bind.Plain(embedder + "embedding.weight");
  w.hard_embedding_norm = bind.Plain(embedder + "hard_embedding_norm.weight");
  w.soft_embedding_norm = bind.Plain(embedder + "soft_embedding_norm.weight");
  w.embedding_projection =
      bind.Linear(embedder + "embedding_projection.weight");
  if (!bind.status().ok()) return bind.status();
  return w;
}

}  // namespace lapidary::kernels::audio
