// What packing knows about a checkpoint's vision tower: which tensors it must
// have, and how convolutions are put into the packed order.
#ifndef LAPIDARY_STORAGE_VISION_PACKER_H_
#define LAPIDARY_STORAGE_VISION_PACKER_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"
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

// A tensor of which spec.permuted(), whole, as the packed model has it: a
// matrix at `dtype` (kF32 or kBf16), or plain f32. The largest of a published
// model takes 2.4 MB.
//
// Errors: RESOURCE_EXHAUSTED.
absl::StatusOr<std::shared_ptr<const kernels::AlignedBuffer>> PackPermuted(
    const kernels::vision::VisionTensorSpec& spec,
    const CheckpointTensor& tensor, kernels::DType dtype);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_VISION_PACKER_H_
