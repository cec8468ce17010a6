// Whether a checkpoint's tensors are those of its config.
#ifndef LAPIDARY_STORAGE_CHECKPOINT_CHECK_H_
#define LAPIDARY_STORAGE_CHECKPOINT_CHECK_H_

#include "absl/status/status.h"
#include "kernels/text/config.h"
#include "storage/checkpoint.h"

namespace lapidary {

// Every tensor that the decoder reads must be there, with its shape and a
// weight type; the PLE table may have more rows than are read. Towers' tensors
// and those that nothing reads are let pass, all others refused. An explicit
// head must equal embed_tokens bit for bit; it is read for that.
//
// Errors: INVALID_ARGUMENT that names the tensor and its file.
absl::Status CheckTensors(const kernels::text::TextConfig& config,
                          const Checkpoint& checkpoint);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_CHECKPOINT_CHECK_H_
