// Which tensors an audio tower and its embedder have, and the weights once
// they are found: the seam between the packed model on disk and the encoder.
//
//   for (const AudioTensorSpec& spec : AudioTensorSpecs(config)) …pack it…
//   StatusOr<AudioWeights> weights = BindAudioWeights(config, lookup);
#ifndef LAPIDARY_KERNELS_AUDIO_WEIGHTS_H_
#define LAPIDARY_KERNELS_AUDIO_WEIGHTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/audio/config.h"
#include "kernels/conv/tap_order.h"
#include "kernels/gemm/weight_matrix.h"
#include "kernels/tensor.h"
#include "kernels/text/weights.h"

namespace lapidary::kernels::audio {

// A tensor of the checkpoint and what it is packed as. The packed form's name
// is the checkpoint's, its shape is
//   conv_0      kPlain  [time · frequency][out]    (one input channel)
//   conv_1      kGemm   [out][time · frequency · in]
//   depthwise   kPlain  [kernel][hidden]
//   linear      kGemm   as it is
//   all others  kPlain  as they are
struct AudioTensorSpec {
  text::TensorSpec packed;
  std::vector<int64_t> shape;  // in the checkpoint

  // Whether the packed tensor holds the elements in another order.
  bool permuted() const { return shape.size() > 2; }
  // That order, if so.
  TapOrder order() const {
    const int64_t taps = shape[2] * (shape.size() > 3 ? shape[3] : 1);
    return packed.use == text::TensorUse::kPlain
               ? TapOrder{1, shape[0], taps}  // of one input channel each
               : TapOrder{shape[0], shape[1], taps};
  }
};

// Every tensor that the tower and the embedder read, in file order.
std::vector<AudioTensorSpec> AudioTensorSpecs(const AudioConfig& config);

// Whether a tensor's name (without the `model.` prefix) is the tower's or the
// embedder's.
bool IsAudioTensor(absl::string_view name);

// Whether a tensor is one of the linear layers, which may be int8. The second
// convolution, whose inputs are not quantised, and the positions' projection,
// which is read once, are f32 or bf16.
bool IsAudioLinear(const text::TensorSpec& spec);

// True for a name that a checkpoint may carry although nothing reads it.
bool IsUnusedAudioTensor(absl::string_view name);

// gemma3n-audio.md §3.4
struct FfwWeights {
  const float* pre_layer_norm = nullptr;
  // conf_residual_weight · post_layer_norm
  std::vector<float> branch_scale;
  WeightMatrix ffw_layer_1, ffw_layer_2;
};

// One conformer block; the names are the checkpoint's.
struct ConformerWeights {
  FfwWeights ffw_start, ffw_end;

  const float* pre_attn_norm = nullptr;
  const float* post_norm = nullptr;
  WeightMatrix q_proj, k_proj, v_proj, post;
  // What queries are multiplied by: head_dim^-½ / ln 2 · softplus.
  std::vector<float> query_scale;  // [head_dim]
  // What is added to a key r frames before the query: W_pos timing(r).
  std::vector<float> positions;  // [attention_keys][hidden_size]

  const float* lconv_pre_layer_norm = nullptr;
  const float* conv_norm = nullptr;
  const float* depthwise = nullptr;  // [conf_conv_kernel_size][hidden_size]
  WeightMatrix linear_start, linear_end;

  const float* norm = nullptr;
};

struct AudioWeights {
  AudioConfig config;
  const float* conv_0 = nullptr;       // [taps][channels]
  const float* conv_0_norm = nullptr;  // [channels]
  WeightMatrix conv_1;
  const float* conv_1_norm = nullptr;
  WeightMatrix input_proj_linear;
  std::vector<ConformerWeights> conformer;
  // Embedder.
  const float* hard_embedding = nullptr;  // [vocab_size][hidden_size]
  const float* hard_embedding_norm = nullptr;
  const float* soft_embedding_norm = nullptr;
  WeightMatrix embedding_projection;  // [text_hidden_size][hidden_size]
};

// Finds and checks the weights, and computes what depends on weights alone.
// `lookup` must keep the bytes alive for as long as the result is used.
//
// Errors: what `lookup` returned, or INVALID_ARGUMENT naming the tensor whose
// shape, dtype or use is not what the config says, or which is a linear layer
// of another dtype than those before it; RESOURCE_EXHAUSTED.
absl::StatusOr<AudioWeights> BindAudioWeights(const AudioConfig& config,
                                              const text::TensorLookup& lookup);

}  // namespace lapidary::kernels::audio

#endif  // LAPIDARY_KERNELS_AUDIO_WEIGHTS_H_
