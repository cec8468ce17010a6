// Reads config.json's vision_config: the arguments that Hugging Face hands to
// timm's mobilenetv5 builder, worked out to blocks and channels as it does
// (gemma3n-vision.md §2, §9).
#ifndef LAPIDARY_STORAGE_VISION_CONFIG_READER_H_
#define LAPIDARY_STORAGE_VISION_CONFIG_READER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/vision/config.h"
#include "storage/json.h"

namespace lapidary {

// `path` begins the messages.
//
// Errors: INVALID_ARGUMENT for a value that no model has; UNIMPLEMENTED for an
// architecture, a block type or an argument that is timm's but not Gemma 3n's.
absl::StatusOr<kernels::vision::VisionConfig> ReadVisionConfig(
    const Json& object, const std::string& path, int64_t text_hidden_size);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_VISION_CONFIG_READER_H_
