// The vision tower's and embedder's configuration: what timm builds from
// Hugging Face's vision_config (architecture, model_args), worked out block by
// block. storage/vision_config_reader.h fills it from config.json. Letters and
// names are those of gemma3n-vision.md §2.
#ifndef LAPIDARY_KERNELS_VISION_CONFIG_H_
#define LAPIDARY_KERNELS_VISION_CONFIG_H_

#include <cstdint>
#include <vector>

#include "kernels/conv/window.h"

namespace lapidary::kernels::vision {

enum class BlockType : uint8_t {
  kEdgeResidual,      // timm's er
  kInvertedResidual,  // uir
  kAttention,         // mqa
};

// Which fields count depends on the type; kernels of 0 are absent.
struct BlockConfig {
  BlockType type = BlockType::kInvertedResidual;
  int64_t in = 0, out = 0;  // channels
  int64_t stride = 1;
  bool skip = false;
  bool layer_scale = false;

  int64_t mid = 0;                   // channels after the expansion (er, uir)
  int64_t exp_kernel = 0;            // er
  int64_t dw_start = 0, dw_mid = 0;  // uir

  int64_t num_heads = 0, key_dim = 0, value_dim = 0;  // mqa
  int64_t kv_stride = 1, kv_kernel = 0;

  // Of dw_start, which strides only where there is no dw_mid.
  int64_t start_stride() const { return dw_mid > 0 ? 1 : stride; }
};

struct VisionConfig {
  Padding padding = Padding::kSame;
  int64_t stem_size = 0;
  bool stem_bias = true;
  std::vector<std::vector<BlockConfig>> stages;  // each halves the resolution
  // Features that the MSFA fuses, ascending: 0 the stem's, i the output of
  // stages[i - 1].
  std::vector<int64_t> msfa_features;
  int64_t hidden_size = 0;  // features that it makes
  int64_t msfa_output_resolution = 0;

  // Embedder.
  int64_t vocab_size = 0;    // hard tokens
  int64_t vocab_offset = 0;  // id of the first
  float rms_norm_eps = 1e-6f;
  int64_t text_hidden_size = 0;

  int64_t soft_tokens() const {
    return msfa_output_resolution * msfa_output_resolution;
  }
  int64_t FeatureChannels(int64_t feature) const {
    return feature == 0 ? stem_size : stages[feature - 1].back().out;
  }
  int64_t msfa_in() const {
    int64_t sum = 0;
    for (const int64_t feature : msfa_features) sum += FeatureChannels(feature);
    return sum;
  }
};

// Of every norm in the tower (timm's RmsNorm2d).
inline constexpr float kTowerEps = 1e-6f;
// The MSFA's expansion.
inline constexpr int64_t kMsfaExpansion = 2;

}  // namespace lapidary::kernels::vision

#endif  // LAPIDARY_KERNELS_VISION_CONFIG_H_
