// Which tensors a Gemma 3n text decoder has, and the decoder's weights once
// they are found: the seam between the packed model on disk and the forward
// pass.
//
//   for (const TensorSpec& spec : TextTensorSpecs(config)) …check and pack it…
//   StatusOr<TextWeights> weights = BindTextWeights(config, range, lookup);
#ifndef LAPIDARY_KERNELS_TEXT_WEIGHTS_H_
#define LAPIDARY_KERNELS_TEXT_WEIGHTS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/gemm/weight_matrix.h"
#include "kernels/quant/neuron_layout.h"
#include "kernels/tensor.h"
#include "kernels/text/config.h"

namespace lapidary::kernels::text {

// How a tensor is stored in the packed model.
enum class TensorUse : uint8_t {
  kGemm,      // matrix [out, in] in its dtype's layout (weight_layout.h)
  kPlain,     // row-major f32: norms, coefficients, the AltUp router
  kPleTable,  // rows of the PLE store; no weight file
  // Matrices of which a token needs only some neurons, which are its rows or
  // columns: int8 and int4 by neuron (neuron_layout.h), f32 and bf16 as kGemm.
  kNeuronRows,     // [neurons, in]
  kNeuronColumns,  // [out, neurons]
};

// Whether a tensor is a weight matrix, which a pack's dtype counts for.
constexpr bool IsMatrix(TensorUse use) {
  return use != TensorUse::kPlain && use != TensorUse::kPleTable;
}

// Whether it is stored by neuron.
constexpr bool IsByNeuron(TensorUse use, DType dtype) {
  return (use == TensorUse::kNeuronRows || use == TensorUse::kNeuronColumns) &&
         IsQuantized(dtype);
}

struct TensorSpec {
  std::string name;  // without the `model.` / `model.language_model.` prefix
  std::vector<int64_t> shape;
  TensorUse use;
  int64_t layer;  // -1 for the global tensors
  // A kGemm tensor of [row_blocks·n][k] is packed as row_blocks matrices of
  // [n][k], one after the other, each with panels of its own: the rows of one
  // layer in per_layer_model_projection can then be used alone.
  int64_t row_blocks = 1;
};

// Bytes of a tensor in the packed model, at `dtype` if it is a matrix; nothing
// for shapes that no memory holds.
std::optional<size_t> PackedBytes(const TensorSpec& spec, DType dtype);

// Every tensor that the decoder reads, in file order: the global ones first,
// then layer by layer. Dead tensors (k_proj, v_proj, k_norm of layers that
// share keys and values; an explicit lm_head) are not among them.
std::vector<TensorSpec> TextTensorSpecs(const TextConfig& config);

// True for names that a checkpoint may carry although nothing reads them.
bool IsUnusedTextTensor(const TextConfig& config, absl::string_view name);

// √2 · erf⁻¹(2p - 1): how many standard deviations above the mean the gate's
// cutoff lies for activation_sparsity_pattern p, in (0, 1).
float SparsityMultiplier(float pattern);

// A tensor of the packed model, wherever its bytes lie.
struct PackedTensor {
  DType dtype = DType::kF32;
  TensorUse use = TensorUse::kPlain;
  std::vector<int64_t> shape;
  int64_t row_blocks = 1;
  const void* data = nullptr;  // 64-byte aligned
};

// NOT_FOUND for an unknown name.
using TensorLookup =
    std::function<absl::StatusOr<PackedTensor>(absl::string_view name)>;

// Weights of one layer; the names are the checkpoint's. Pointers are f32
// arrays of the shapes that TextTensorSpecs gives.
struct LayerWeights {
  WeightMatrix q_proj, k_proj, v_proj, o_proj;  // k, v: empty if KV-shared
  WeightMatrix gate_proj;
  // Of a dense layer, or an f32 or bf16 one; the others are empty.
  WeightMatrix up_proj, down_proj;
  // Of a sparse layer in int8 or int4, whose gate is quantised too.
  NeuronMatrix up_neurons, down_neurons;
  WeightMatrix per_layer_input_gate, per_layer_projection;
  WeightMatrix laurel_left, laurel_right;
  float sparsity_multiplier = 0.0f;  // 0: a dense layer
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  const float* input_layernorm = nullptr;
  const float* post_attention_layernorm = nullptr;
  const float* pre_feedforward_layernorm = nullptr;
  const float* post_feedforward_layernorm = nullptr;
  const float* post_per_layer_input_norm = nullptr;
  const float* post_laurel_norm = nullptr;
  const float* correct_output_scale = nullptr;  // [hidden]
  const float* router_norm = nullptr;
  const float* modality_router = nullptr;  // [streams][hidden]
  std::vector<float> prediction_coefs;     // [streams²][streams], clipped
  std::vector<float> correction_coefs;     // [streams][streams], clipped
};

struct TextWeights {
  TextConfig config;
  LayerRange range;
  std::vector<LayerWeights> layers;  // [range.count()]
  WeightMatrix embed_tokens;         // [vocab][hidden]: embedding and head
  // One [P][hidden] block of per_layer_model_projection for each layer.
  std::vector<WeightMatrix> per_layer_model_projection;
  const float* per_layer_projection_norm = nullptr;     // [P]
  std::vector<WeightMatrix> altup_projections;          // [streams-1]
  std::vector<WeightMatrix> altup_unembed_projections;  // [streams-1]
  const float* norm = nullptr;
  // Coefficients that altup_coef_clip changed; 0 in every published model.
  int64_t clipped_coefficients = 0;
};

// Finds and checks the weights of `range`. `lookup` must keep the bytes alive
// for as long as the result is used.
//
// Errors: what `lookup` returned, or INVALID_ARGUMENT naming the tensor whose
// shape, dtype or use is not what the config says; RESOURCE_EXHAUSTED.
absl::StatusOr<TextWeights> BindTextWeights(const TextConfig& config,
                                            LayerRange range,
                                            const TensorLookup& lookup);

}  // namespace lapidary::kernels::text

#endif  // LAPIDARY_KERNELS_TEXT_WEIGHTS_H_
