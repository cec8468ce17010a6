// Whether a checkpoint's tensors are those of its config.
#ifndef LAPIDARY_STORAGE_CHECKPOINT_CHECK_H_
#define LAPIDARY_STORAGE_CHECKPOINT_CHECK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kernels/text/config.h"
#include "storage/checkpoint.h"

namespace lapidary {

// Every tensor that the decoder reads must be there, with its shape and a
// weight type; the PLE table may have more rows than are read. Towers' tensors
// (vision_packer.h) and those that nothing reads are let pass, all others
// refused. An explicit
// head must equal embed_tokens bit for bit; it is read for that.
//
// Errors: INVALID_ARGUMENT that names the tensor and its file.
absl::Status CheckTensors(const kernels::text::TextConfig& config,
                          const Checkpoint& checkpoint);

// That a tensor has this shape and a weight type; `name` begins the message.
absl::Status CheckTensor(const std::string& name,
                         const std::vector<int64_t>& shape,
                         const CheckpointTensor& tensor);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_CHECKPOINT_CHECK_H_
