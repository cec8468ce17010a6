// The text decoder's configuration: Hugging Face's Gemma3nTextConfig, checked
// and normalised (scalars widened to one value per layer). Field names are
// Hugging Face's own. storage/text_config_reader.h fills it from config.json.
#ifndef LAPIDARY_KERNELS_TEXT_CONFIG_H_
#define LAPIDARY_KERNELS_TEXT_CONFIG_H_

#include <cstdint>
#include <optional>
#include <vector>

namespace lapidary::kernels::text {

enum class LayerType : uint8_t { kSliding, kFull };

struct TextConfig {
  int64_t vocab_size = 0;  // rows of embed_tokens, and logits per position
  // Rows of the PLE table. Ids at or above it are not text: they read row 0 of
  // the table and are never sampled.
  int64_t vocab_size_per_layer_input = 0;
  int64_t hidden_size = 0;
  int64_t hidden_size_per_layer_input = 0;
  std::vector<int64_t> intermediate_size;  // [layers]
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;
  float rms_norm_eps = 1e-6f;
  float rope_theta = 1e6f;             // full_attention layers
  float rope_local_base_freq = 1e4f;   // sliding_attention layers
  int64_t sliding_window = 0;          // keys seen, the query's own included
  std::vector<LayerType> layer_types;  // [layers]
  int64_t num_kv_shared_layers = 0;    // the last so many layers
  std::vector<float> activation_sparsity_pattern;  // [layers]; 0 is dense
  // Absent: no soft cap.
  std::optional<float> final_logit_softcapping;
  int64_t altup_num_inputs = 4;
  int64_t altup_active_idx = 0;
  float altup_coef_clip = 120.0f;
  bool altup_correct_scale = true;
  int64_t laurel_rank = 0;
  int32_t pad_token_id = 0;
  int32_t eos_token_id = 1;
  int32_t bos_token_id = 2;

  int64_t query_width() const { return num_attention_heads * head_dim; }
  int64_t kv_width() const { return num_key_value_heads * head_dim; }

  // Layers at or after it own no keys and values (num_hidden_layers where
  // nothing is shared).
  int64_t first_kv_shared_layer() const {
    return num_hidden_layers - num_kv_shared_layers;
  }
  bool OwnsKv(int64_t layer) const { return layer < first_kv_shared_layer(); }

  // The layer whose keys and values `layer` reads: itself, or the last owner
  // of the same type. The config reader has checked that there is one.
  int64_t KvSource(int64_t layer) const {
    if (OwnsKv(layer)) return layer;
    int64_t donor = first_kv_shared_layer() - 1;
    while (donor > 0 && layer_types[donor] != layer_types[layer]) --donor;
    return donor;
  }
};

// Layers [first, last): what one pipeline stage holds.
struct LayerRange {
  int64_t first = 0;
  int64_t last = 0;

  int64_t count() const { return last - first; }
  bool Contains(int64_t layer) const { return first <= layer && layer < last; }
};

}  // namespace lapidary::kernels::text

#endif  // LAPIDARY_KERNELS_TEXT_CONFIG_H_
