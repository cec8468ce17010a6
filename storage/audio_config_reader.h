// Reads config.json's audio_config and the feature extractor's parameters
// (gemma3n-audio.md §1.1, §6, §9.1).
#ifndef LAPIDARY_STORAGE_AUDIO_CONFIG_READER_H_
#define LAPIDARY_STORAGE_AUDIO_CONFIG_READER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/audio/config.h"
#include "storage/json.h"

namespace lapidary {

// The mel front end is Hugging Face's default with input_feat_size bands.
// `path` begins the messages.
//
// Errors: INVALID_ARGUMENT for a value that no model has; UNIMPLEMENTED for one
// that Hugging Face's class allows and no Gemma 3n has: keys behind the query
// (conf_attention_context_right), activations that are clipped for real
// (gradient_clipping).
absl::StatusOr<kernels::audio::AudioConfig> ReadAudioConfig(
    const Json& object, const std::string& path, int64_t text_hidden_size);

// Reads Gemma3nAudioFeatureExtractor's parameters over *mel, which is left
// alone where there are none or there is an error. Fields of others are
// skipped: older folders have one object for sounds and images.
//
// Errors: as above; UNIMPLEMENTED for dither, for a rate other than 16 kHz.
absl::Status ReadMelConfig(const Json& object, const std::string& path,
                           kernels::audio::MelConfig* mel);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_AUDIO_CONFIG_READER_H_
