// Reads the text decoder's fields of config.json: the object that Hugging Face
// calls text_config, or the whole file of a text-only checkpoint.
#ifndef LAPIDARY_STORAGE_TEXT_CONFIG_READER_H_
#define LAPIDARY_STORAGE_TEXT_CONFIG_READER_H_

#include <string>

#include "absl/status/statusor.h"
#include "kernels/text/config.h"
#include "storage/json.h"

namespace lapidary {

// Largest sizes that are believed; a product of any three of them fits 64 bits.
inline constexpr int64_t kMaxLayers = 1024;
inline constexpr int64_t kMaxDim = int64_t{1} << 20;

// Absent fields have the defaults of Hugging Face's Gemma3nTextConfig. `path`
// begins every message, e.g. "config.json: text_config".
//
// Errors: INVALID_ARGUMENT for a wrong or contradictory field; UNIMPLEMENTED
// for a kind of model that Gemma 3n is not (rope scaling, biases, …).
absl::StatusOr<kernels::text::TextConfig> ReadTextConfig(
    const Json& object, const std::string& path);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_TEXT_CONFIG_READER_H_
