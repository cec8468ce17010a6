#include "tests/support/tiny_model.h"

#include <stdlib.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/pack.h"
#include "storage/synth.h"

namespace lapidary {

TempDir::TempDir() {
  path_ = absl::StrCat(testing::TempDir(), "/lapidary-XXXXXX");
  if (mkdtemp(path_.data()) == nullptr) {
    ADD_FAILURE() << "cannot make a temporary folder like " << path_;
  }
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::File(absl::string_view name) const {
  return absl::StrCat(path_, "/", name);
}

std::string TempDir::Unused(absl::string_view name) const {
  return absl::StrCat(path_, "/", name, "-", ++used_);
}

std::string TinyConfigJson() {
  return R"json({
  "architectures": ["Gemma3nForCausalLM"],
  "model_type": "gemma3n_text",
  "vocab_size": 320,
  "vocab_size_per_layer_input": 300,
  "hidden_size": 64,
  "hidden_size_per_layer_input": 8,
  "intermediate_size": [96, 96, 96, 80, 96, 96],
  "num_hidden_layers": 6,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "head_dim": 16,
  "hidden_activation": "gelu_pytorch_tanh",
  "max_position_embeddings": 1024,
  "rms_norm_eps": 1e-06,
  "rope_theta": 1000000.0,
  "rope_local_base_freq": 10000.0,
  "sliding_window": 8,
  "layer_types": ["sliding_attention", "sliding_attention", "full_attention",
                  "sliding_attention", "sliding_attention", "full_attention"],
  "num_kv_shared_layers": 3,
  "activation_sparsity_pattern": [0.9, 0.9, 0.0, 0.0, 0.0, 0.0],
  "final_logit_softcapping": 30.0,
  "altup_num_inputs": 4,
  "altup_active_idx": 0,
  "altup_coef_clip": 120.0,
  "altup_correct_scale": true,
  "laurel_rank": 8,
  "pad_token_id": 0,
  "eos_token_id": 1,
  "bos_token_id": 2,
  "tie_word_embeddings": true
}
)json";
}

absl::StatusOr<std::string> SynthFolder(const TempDir& dir,
                                        const std::string& config_json,
                                        uint32_t seed, kernels::DType dtype) {
  SynthOptions options;
  options.config_json = config_json;
  options.seed = seed;
  options.dtype = dtype;
  options.target = dir.Unused("hf");
  if (auto s = Synthesize(options); !s.ok()) return s;
  return options.target;
}

absl::StatusOr<std::string> PackFolder(const TempDir& dir,
                                       const std::string& hf,
                                       kernels::DType dtype) {
  PackDTypes dtypes;
  dtypes.matrices = dtype;
  return PackFolder(dir, hf, dtypes);
}

absl::StatusOr<std::string> PackFolder(const TempDir& dir,
                                       const std::string& hf,
                                       const PackDTypes& dtypes) {
  PackOptions options;
  options.source = hf;
  options.target = dir.Unused("packed");
  options.dtypes = dtypes;
  if (auto s = Pack(options); !s.ok()) return s;
  return options.target;
}

}  // namespace lapidary
