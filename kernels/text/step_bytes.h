// How much work space the decoder's steps take, known before any ran: for a
// node that must fit into a given memory.
#ifndef LAPIDARY_KERNELS_TEXT_STEP_BYTES_H_
#define LAPIDARY_KERNELS_TEXT_STEP_BYTES_H_

#include <cstddef>
#include <cstdint>

#include "kernels/attention/kv_cache.h"
#include "kernels/text/config.h"

namespace lapidary::kernels::text {

struct StepSize {
  int64_t rows = 0;       // of a step
  int64_t head_rows = 0;  // whose logits are held at once
  int64_t positions = 0;  // of the longest sequence
  int64_t threads = 1;
};

// No less than TextModel::ScratchBytes() of a model that holds `kv_layout`,
// after any steps within `size`, and little more. What oneDNN takes for f32 and
// bf16 matrices is its own and counted roughly.
size_t StepBytes(const TextConfig& config, const KvLayout& kv_layout,
                 const StepSize& size);

}  // namespace lapidary::kernels::text

#endif  // LAPIDARY_KERNELS_TEXT_STEP_BYTES_H_
