// Which tensors a vision tower and its embedder have, and the weights once
// they are found: the seam between the packed model on disk and the encoder.
//
//   for (const VisionTensorSpec& spec : VisionTensorSpecs(config)) …pack it…
//   StatusOr<VisionWeights> weights = BindVisionWeights(config, lookup);
#ifndef LAPIDARY_KERNELS_VISION_WEIGHTS_H_
#define LAPIDARY_KERNELS_VISION_WEIGHTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/conv/tap_order.h"
#include "kernels/gemm/weight_matrix.h"
#include "kernels/tensor.h"
#include "kernels/text/weights.h"
#include "kernels/vision/config.h"

namespace lapidary::kernels::vision {

// A tensor of the checkpoint and what it is packed as. The packed form's name
// is the checkpoint's, its shape is
//   dense and 1x1 convolutions  kGemm   [out][kernel · kernel · in]
//   depthwise convolutions      kPlain  [kernel · kernel][channels]
//   everything else             kPlain or kGemm, as it is
struct VisionTensorSpec {
  text::TensorSpec packed;
  std::vector<int64_t> shape;  // in the checkpoint: OIHW where it has four

  // Whether the packed tensor holds the elements in another order.
  bool permuted() const { return shape.size() == 4 && shape[2] * shape[3] > 1; }
  // That order, if so.
  TapOrder order() const {
    const int64_t taps = shape[2] * shape[3];
    return packed.use == text::TensorUse::kPlain
               ? TapOrder{1, shape[0], taps}  // depthwise
               : TapOrder{shape[0], shape[1], taps};
  }
};

// Every tensor that the tower and the embedder read, in file order.
std::vector<VisionTensorSpec> VisionTensorSpecs(const VisionConfig& config);

// Whether a tensor's name (without the `model.` prefix) is the tower's or the
// embedder's.
bool IsVisionTensor(absl::string_view name);

// A depthwise convolution, or none (weight null).
struct DepthwiseWeights {
  const float* weight = nullptr;  // [kernel][kernel][channels]
  const float* norm = nullptr;
};

// The names are gemma3n-vision.md §6's.
struct BlockWeights {
  BlockConfig config;
  std::string name;  // "blocks.2.9"
  // er: conv_exp, bn1, conv_pwl, bn2. uir: pw_exp, its bn, pw_proj, its bn.
  WeightMatrix expand, project;
  const float* expand_norm = nullptr;
  const float* project_norm = nullptr;
  DepthwiseWeights dw_start, dw_mid;
  const float* gamma = nullptr;  // layer_scale, or null
  // project_norm ⊙ gamma where there is one.
  std::vector<float> scaled_project_norm;
  // mqa
  const float* norm = nullptr;
  WeightMatrix query, key, value, output;
  DepthwiseWeights key_down, value_down;

  const float* project_scale() const {
    return scaled_project_norm.empty() ? project_norm
                                       : scaled_project_norm.data();
  }
};

struct VisionWeights {
  VisionConfig config;
  WeightMatrix conv_stem;
  const float* stem_bias = nullptr;  // or null
  const float* stem_norm = nullptr;
  std::vector<std::vector<BlockWeights>> stages;
  WeightMatrix msfa_expand, msfa_project;
  const float* msfa_expand_norm = nullptr;
  const float* msfa_project_norm = nullptr;
  const float* msfa_norm = nullptr;
  // Embedder.
  const float* hard_embedding = nullptr;  // [vocab_size][hidden_size]
  const float* hard_embedding_norm = nullptr;
  const float* soft_embedding_norm = nullptr;
  WeightMatrix embedding_projection;  // [text_hidden_size][hidden_size]
};

// Finds and checks the weights. `lookup` must keep the bytes alive for as long
// as the result is used.
//
// Errors: what `lookup` returned, or INVALID_ARGUMENT naming the tensor whose
// shape, dtype or use is not what the config says; RESOURCE_EXHAUSTED.
absl::StatusOr<VisionWeights> BindVisionWeights(
    const VisionConfig& config, const text::TensorLookup& lookup);

}  // namespace lapidary::kernels::vision

#endif  // LAPIDARY_KERNELS_VISION_WEIGHTS_H_
