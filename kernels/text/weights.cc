#include "kernels/text/weights.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "kernels/gemm/weight_layout.h"

namespace lapidary::kernels::text {
namespace {

void AppendGlobalSpecs(const TextConfig& c, std::vector<TensorSpec>* specs) {
  const int64_t h = c.hidden_size;
  const int64_t p = c.hidden_size_per_layer_input;
  const int64_t all_layers = c.num_hidden_layers * p;
  specs->push_back(
      {"embed_tokens.weight", {c.vocab_size, h}, TensorUse::kGemm, -1});
  specs->push_back({"embed_tokens_per_layer.weight",
                    {c.vocab_size_per_layer_input, all_layers},
                    TensorUse::kPleTable,
                    -1});
  specs->push_back({"per_layer_model_projection.weight",
                    {all_layers, h},
                    TensorUse::kGemm,
                    -1,
                    c.num_hidden_layers});
  specs->push_back(
      {"per_layer_projection_norm.weight", {p}, TensorUse::kPlain, -1});
  for (const char* name : {"altup_projections", "altup_unembed_projections"}) {
    for (int64_t i = 0; i + 1 < c.altup_num_inputs; ++i) {
      specs->push_back({absl::StrCat(name, ".", i, ".weight"),
                        {h, h},
                        TensorUse::kGemm,
                        -1});
    }
  }
  specs->push_back({"norm.weight", {h}, TensorUse::kPlain, -1});
}

void AppendLayerSpecs(const TextConfig& c, int64_t layer,
                      std::vector<TensorSpec>* specs) {
  const int64_t h = c.hidden_size;
  const int64_t p = c.hidden_size_per_layer_input;
  const int64_t inner = c.intermediate_size[layer];
  const int64_t streams = c.altup_num_inputs;
  const auto add = [&](absl::string_view name, std::vector<int64_t> shape,
                       TensorUse use) {
    specs->push_back({absl::StrCat("layers.", layer, ".", name),
                      std::move(shape), use, layer});
  };
  add("self_attn.q_proj.weight", {c.query_width(), h}, TensorUse::kGemm);
  if (c.OwnsKv(layer)) {
    add("self_attn.k_proj.weight", {c.kv_width(), h}, TensorUse::kGemm);
    add("self_attn.v_proj.weight", {c.kv_width(), h}, TensorUse::kGemm);
  }
  add("self_attn.o_proj.weight", {h, c.query_width()}, TensorUse::kGemm);
  add("self_attn.q_norm.weight", {c.head_dim}, TensorUse::kPlain);
  if (c.OwnsKv(layer)) {
    add("self_attn.k_norm.weight", {c.head_dim}, TensorUse::kPlain);
  }
  add("mlp.gate_proj.weight", {inner, h}, TensorUse::kGemm);
  const bool sparse = c.activation_sparsity_pattern[layer] > 0;
  add("mlp.up_proj.weight", {inner, h},
      sparse ? TensorUse::kNeuronRows : TensorUse::kGemm);
  add("mlp.down_proj.weight", {h, inner},
      sparse ? TensorUse::kNeuronColumns : TensorUse::kGemm);
  for (const char* name :
       {"input_layernorm", "post_attention_layernorm",
        "pre_feedforward_layernorm", "post_feedforward_layernorm"}) {
    add(absl::StrCat(name, ".weight"), {h}, TensorUse::kPlain);
  }
  add("per_layer_input_gate.weight", {p, h}, TensorUse::kGemm);
  add("per_layer_projection.weight", {h, p}, TensorUse::kGemm);
  add("post_per_layer_input_norm.weight", {h}, TensorUse::kPlain);
  add("altup.correct_output_scale", {h}, TensorUse::kPlain);
  add("altup.correction_coefs.weight", {streams, streams}, TensorUse::kPlain);
  add("altup.prediction_coefs.weight", {streams * streams, streams},
      TensorUse::kPlain);
  add("altup.modality_router.weight", {streams, h}, TensorUse::kPlain);
  add("altup.router_norm.weight", {h}, TensorUse::kPlain);
  add("laurel.linear_left.weight", {c.laurel_rank, h}, TensorUse::kGemm);
  add("laurel.linear_right.weight", {h, c.laurel_rank}, TensorUse::kGemm);
  add("laurel.post_laurel_norm.weight", {h}, TensorUse::kPlain);
}

bool IsWeightType(TensorUse use, DType dtype) {
  return IsMatrix(use) ? IsWeightDType(dtype) : dtype == DType::kF32;
}

// Finds tensors by name and remembers the first error, so that a long list of
// bindings reads as a list.
class Binder {
 public:
  Binder(const std::vector<TensorSpec>& specs, const TensorLookup& lookup)
      : specs_(specs), lookup_(lookup) {}

  const absl::Status& status() const { return status_; }

  // Row block `block` of a kGemm tensor.
  WeightMatrix Gemm(absl::string_view name, int64_t block = 0) {
    return Wrap(Find(name, TensorUse::kGemm), block);
  }

  // A matrix by neuron, or the same as panels: whichever it is stored as.
  void Neurons(absl::string_view name, TensorUse use, NeuronMatrix* neurons,
               WeightMatrix* panels) {
    const PackedTensor tensor = Find(name, use);
    if (!status_.ok()) return;
    if (!IsByNeuron(use, tensor.dtype)) {
      *panels = Wrap(tensor, 0);
      return;
    }
    const bool rows = use == TensorUse::kNeuronRows;
    *neurons = {tensor.dtype, tensor.shape[rows ? 0 : 1],
                tensor.shape[rows ? 1 : 0],
                static_cast<const std::byte*>(tensor.data)};
  }

  // Gate, up and down of a sparse layer are quantised all three or not at all.
  void CheckSparse(absl::string_view name, const LayerWeights& w) {
    const bool by_neuron = !w.up_neurons.empty();
    if (status_.ok() && (by_neuron == w.down_neurons.empty() ||
                         by_neuron != IsQuantized(w.gate_proj.dtype()))) {
      status_ = absl::InvalidArgumentError(absl::StrCat(
          name,
          ": its matrices are packed some as int8 or int4 and some not; "
          "pack the model again"));
    }
  }

  const float* Plain(absl::string_view name) {
    const PackedTensor tensor = Find(name, TensorUse::kPlain);
    return status_.ok() ? static_cast<const float*>(tensor.data) : nullptr;
  }

  // A copy with every value within ±clip.
  std::vector<float> Clipped(absl::string_view name, float clip,
                             int64_t* clipped) {
    const PackedTensor tensor = Find(name, TensorUse::kPlain);
    if (!status_.ok()) return {};
    const auto* data = static_cast<const float*>(tensor.data);
    std::vector<float> values(data, data + tensor.shape[0] * tensor.shape[1]);
    for (float& value : values) {
      const float inside = std::clamp(value, -clip, clip);
      if (inside != value) ++*clipped;
      value = inside;
    }
    return values;
  }

 private:
  WeightMatrix Wrap(const PackedTensor& tensor, int64_t block) {
    if (!status_.ok()) return WeightMatrix();
    const int64_t n = tensor.shape[0] / tensor.row_blocks;
    const int64_t k = tensor.shape[1];
    const size_t bytes = WeightMatrixBytes(tensor.dtype, n, k).value_or(0);
    absl::StatusOr<WeightMatrix> matrix = WeightMatrix::Wrap(
        tensor.dtype, n, k,
        static_cast<const std::byte*>(tensor.data) + block * bytes);
    if (!matrix.ok()) status_ = matrix.status();
    return matrix.ok() ? *std::move(matrix) : WeightMatrix();
  }

  PackedTensor Find(absl::string_view name, TensorUse use) {
    if (!status_.ok()) return {};
    const auto spec =
        std::find_if(specs_.begin(), specs_.end(),
                     [&](const TensorSpec& s) { return s.name == name; });
    absl::StatusOr<PackedTensor> tensor = lookup_(name);
    if (!tensor.ok()) {
      status_ = tensor.status();
    } else if (spec == specs_.end() || tensor->use != use ||
               tensor->shape != spec->shape ||
               tensor->row_blocks != spec->row_blocks ||
               !IsWeightType(use, tensor->dtype) || tensor->data == nullptr) {
      status_ = absl::InvalidArgumentError(absl::StrCat(
          name, ": packed as ", NameOf(tensor->dtype), " [",
          absl::StrJoin(tensor->shape, ", "),
          "], which is not what config.json says; pack the model again"));
    }
    return status_.ok() ? *std::move(tensor) : PackedTensor();
  }

  const std::vector<TensorSpec>& specs_;
  const TensorLookup& lookup_;
  absl::Status status_;
};

LayerWeights BindLayer(const TextConfig& c, int64_t layer, Binder* bind,
                       int64_t* clipped) {
  const auto name = [&](absl::string_view tensor) {
    return absl::StrCat("layers.", layer, ".", tensor);
  };
  LayerWeights w;
  const float pattern = c.activation_sparsity_pattern[layer];
  if (pattern > 0) w.sparsity_multiplier = SparsityMultiplier(pattern);
  w.q_proj = bind->Gemm(name("self_attn.q_proj.weight"));
  w.q_norm = bind->Plain(name("self_attn.q_norm.weight"));
  if (c.OwnsKv(layer)) {
    w.k_proj = bind->Gemm(name("self_attn.k_proj.weight"));
    w.v_proj = bind->Gemm(name("self_attn.v_proj.weight"));
    w.k_norm = bind->Plain(name("self_attn.k_norm.weight"));
  }
  w.o_proj = bind->Gemm(name("self_attn.o_proj.weight"));
  w.gate_proj = bind->Gemm(name("mlp.gate_proj.weight"));
  if (pattern > 0) {
    bind->Neurons(name("mlp.up_proj.weight"), TensorUse::kNeuronRows,
                  &w.up_neurons, &w.up_proj);
    bind->Neurons(name("mlp.down_proj.weight"), TensorUse::kNeuronColumns,
                  &w.down_neurons, &w.down_proj);
    bind->CheckSparse(name("mlp"), w);
  } else {
    w.up_proj = bind->Gemm(name("mlp.up_proj.weight"));
    w.down_proj = bind->Gemm(name("mlp.down_proj.weight"));
  }
  w.input_layernorm = bind->Plain(name("input_layernorm.weight"));
  w.post_attention_layernorm =
      bind->Plain(name("post_attention_layernorm.weight"));
  w.pre_feedforward_layernorm =
      bind->Plain(name("pre_feedforward_layernorm.weight"));
  w.post_feedforward_layernorm =
      bind->Plain(name("post_feedforward_layernorm.weight"));
  w.per_layer_input_gate = bind->Gemm(name("per_layer_input_gate.weight"));
  w.per_layer_projection = bind->Gemm(name("per_layer_projection.weight"));
  w.post_per_layer_input_norm =
      bind->Plain(name("post_per_layer_input_norm.weight"));
  w.correct_output_scale = bind->Plain(name("altup.correct_output_scale"));
  w.correction_coefs = bind->Clipped(name("altup.correction_coefs.weight"),
                                     c.altup_coef_clip, clipped);
  w.prediction_coefs = bind->Clipped(name("altup.prediction_coefs.weight"),
                                     c.altup_coef_clip, clipped);
  w.modality_router = bind->Plain(name("altup.modality_router.weight"));
  w.router_norm = bind->Plain(name("altup.router_norm.weight"));
  w.laurel_left = bind->Gemm(name("laurel.linear_left.weight"));
  w.laurel_right = bind->Gemm(name("laurel.linear_right.weight"));
  w.post_laurel_norm = bind->Plain(name("laurel.post_laurel_norm.weight"));
  return w;
}

}  // namespace

float SparsityMultiplier(float pattern) {
  const double target = 2.0f * pattern - 1.0f;
  // Newton's method on erf: erf'(x) = 2/√π exp(-x²).
  double x = 0;
  for (int i = 0; i < 100; ++i) {
    const double slope = 2.0 / std::sqrt(M_PI) * std::exp(-x * x);
    const double step = (std::erf(x) - target) / slope;
    x -= step;
    if (std::fabs(step) < 1e-15) break;
  }
  return static_cast<float>(x) * std::sqrt(2.0f);
}

std::vector<TensorSpec> TextTensorSpecs(const TextConfig& config) {
  std::vector<TensorSpec> specs;
  AppendGlobalSpecs(config, &specs);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    AppendLayerSpecs(config, layer, &specs);
  }
  return specs;
}

bool IsUnusedTextTensor(const TextConfig& config, absl::string_view name) {
  if (name == "lm_head.weight") return true;
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '.');
  int64_t layer = 0;
  if (parts.size() != 5 || parts[0] != "layers" || parts[2] != "self_attn" ||
      parts[4] != "weight" || !absl::SimpleAtoi(parts[1], &layer)) {
    return false;
  }
  const bool key_or_value =
      parts[3] == "k_proj" || parts[3] == "v_proj" || parts[3] == "k_norm";
  return key_or_value && layer >= config.first_kv_shared_layer() &&
         layer < config.num_hidden_layers;
}

std::optional<size_t> PackedBytes(const TensorSpec& spec, DType dtype) {
  size_t bytes = 0;
  switch (spec.use) {
    case TensorUse::kNeuronRows:
    case TensorUse::kNeuronColumns:
      if (IsByNeuron(spec.use, dtype)) {
        const bool rows = spec.use == TensorUse::kNeuronRows;
        return NeuronMatrixBytes(dtype, spec.shape[rows ? 0 : 1],
                                 spec.shape[rows ? 1 : 0]);
      }
      [[fallthrough]];
    case TensorUse::kGemm: {
      const std::optional<size_t> block = WeightMatrixBytes(
          dtype, spec.shape[0] / spec.row_blocks, spec.shape[1]);
      if (!block.has_value() ||
          __builtin_mul_overflow(*block, spec.row_blocks, &bytes)) {
        return std::nullopt;
      }
      break;
    }
    case TensorUse::kPlain:
      bytes = sizeof(float);
      for (int64_t d : spec.shape) {
        if (__builtin_mul_overflow(bytes, d, &bytes)) return std::nullopt;
      }
      break;
    case TensorUse::kPleTable:
      break;
  }
  return bytes;
}

absl::StatusOr<TextWeights> BindTextWeights(const TextConfig& config,
                                            LayerRange range,
                                            const TensorLookup& lookup) {
  const std::vector<TensorSpec> specs = TextTensorSpecs(config);
  Binder bind(specs, lookup);
  TextWeights w;
  w.config = config;
  w.range = range;
  w.embed_tokens = bind.Gemm("embed_tokens.weight");
  w.per_layer_projection_norm = bind.Plain("per_layer_projection_norm.weight");
  w.norm = bind.Plain("norm.weight");
  for (int64_t i = 0; i + 1 < config.altup_num_inputs; ++i) {
    w.altup_projections.push_back(
        bind.Gemm(absl::StrCat("altup_projections.", i, ".weight")));
    w.altup_unembed_projections.push_back(
        bind.Gemm(absl::StrCat("altup_unembed_projections.", i, ".weight")));
  }
  for (int64_t layer = range.first; layer < range.last; ++layer) {
    w.per_layer_model_projection.push_back(
        bind.Gemm("per_layer_model_projection.weight", layer));
    w.layers.push_back(
        BindLayer(config, layer, &bind, &w.clipped_coefficients));
  }
  if (!bind.status().ok()) return bind.status();
  return w;
}

}  // namespace lapidary::kernels::text
