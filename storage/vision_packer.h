// What packing knows about a checkpoint's vision tower: which tensors it must
// have.
#ifndef LAPIDARY_STORAGE_VISION_PACKER_H_
#define LAPIDARY_STORAGE_VISION_PACKER_H_

#include <vector>

#include "absl/status/statusor.h"
#include "kernels/vision/weights.h"
#include "storage/checkpoint.h"
#include "storage/model_config.h"

namespace lapidary {

// The tower's and embedder's tensors, each checked against the config; none
// where config.json has no vision_config or the checkpoint no tower.
//
// Errors: what is wrong with vision_config; INVALID_ARGUMENT that names the
// tensor which is missing, unexpected, or of another shape or type.
absl::StatusOr<std::vector<kernels::vision::VisionTensorSpec>>
CheckVisionTensors(const ModelConfig& config, const Checkpoint& checkpoint);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_VISION_PACKER_H_
