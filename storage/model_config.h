// What a Hugging Face Gemma 3n folder says about its model, besides the
// tensors: the decoder's configuration, the special ids and the defaults of
// generation.
#ifndef LAPIDARY_STORAGE_MODEL_CONFIG_H_
#define LAPIDARY_STORAGE_MODEL_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/audio/config.h"
#include "kernels/text/config.h"
#include "kernels/vision/config.h"

namespace lapidary {

// generation_config.json; what a request leaves open is taken from here.
struct GenerationDefaults {
  bool do_sample = false;  // false: greedy
  float temperature = 1.0f;
  int32_t top_k = 50;  // Hugging Face's default where the file is silent
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
  std::vector<int32_t> eos_token_ids;  // any of them ends an answer
};

struct ModelConfig {
  std::string architecture;  // architectures[0]
  kernels::text::TextConfig text;
  bool has_vision = false;  // vision_config present
  bool has_audio = false;
  // What vision_config says. An error in it is one only where a checkpoint has
  // a tower: many are text alone and keep the entry.
  absl::StatusOr<kernels::vision::VisionConfig> vision =
      absl::NotFoundError("config.json has no vision_config");
  // Likewise what audio_config says, with the processor's feature extractor.
  absl::StatusOr<kernels::audio::AudioConfig> audio =
      absl::NotFoundError("config.json has no audio_config");
  // Multimodal ids; absent in text-only checkpoints.
  std::optional<int32_t> boi_token_id, eoi_token_id, image_token_id;
  std::optional<int32_t> boa_token_id, eoa_token_id, audio_token_id;
  int32_t vision_soft_tokens_per_image = 0;
  int32_t audio_soft_tokens_per_image = 0;
  // Pixels of the image that the tower takes (the processor's `size`).
  int64_t vision_image_height = 768, vision_image_width = 768;
  GenerationDefaults generation;

  // Whether the token that ends an image is none of the text model's: then the
  // tower embeds it (gemma3n-vision.md §7).
  bool tower_ends_image() const {
    return eoi_token_id.value_or(0) >= text.vocab_size_per_layer_input;
  }
  // Likewise the token that ends a sound (gemma3n-audio.md §5.2).
  bool tower_ends_sound() const {
    return eoa_token_id.value_or(0) >= text.vocab_size_per_layer_input;
  }
  // Rows that the tower gives for an image: its soft tokens, and that one.
  int64_t image_rows() const {
    return vision_soft_tokens_per_image + (tower_ends_image() ? 1 : 0);
  }
  // Likewise for a window of a sound.
  int64_t sound_rows() const {
    return audio_soft_tokens_per_image + (tower_ends_sound() ? 1 : 0);
  }
};

// Reads config.json text. Every field is checked against every other; an error
// names the field, its value and what would be right.
//
// Errors: INVALID_ARGUMENT; UNIMPLEMENTED for an architecture, activation or
// rope type that is not Gemma 3n's.
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view config_json);

// Fills config->generation from generation_config.json text ("" if the folder
// has none: eos ids then come from config.json).
absl::Status ParseGenerationConfig(absl::string_view generation_json,
                                   ModelConfig* config);

// Takes the image size and the sound front end from the text of
// processor_config.json, or of preprocessor_config.json as older folders have
// it; `path` names it in errors. What is wrong with the front end becomes
// config->audio's error.
absl::Status ParseProcessorConfig(absl::string_view json,
                                  const std::string& path, ModelConfig* config);

// All of them, from the files of a folder.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& folder);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_MODEL_CONFIG_H_
