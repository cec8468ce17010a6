// A tower's convolutions, put into the order in which they are used.
#ifndef LAPIDARY_STORAGE_PERMUTED_PACKER_H_
#define LAPIDARY_STORAGE_PERMUTED_PACKER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/conv/tap_order.h"
#include "kernels/tensor.h"
#include "kernels/text/weights.h"
#include "storage/checkpoint.h"

namespace lapidary {

// A tensor whose taps go before its input channels, whole, as the packed model
// has it: a matrix at `dtype` (kF32 or kBf16), or plain f32. The largest of a
// published model takes 2.4 MB.
//
// Errors: RESOURCE_EXHAUSTED.
absl::StatusOr<std::shared_ptr<const kernels::AlignedBuffer>> PackPermuted(
    const kernels::text::TensorSpec& packed, const kernels::TapOrder& order,
    const CheckpointTensor& tensor, kernels::DType dtype);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_PERMUTED_PACKER_H_
