// Packs a matrix by neuron (kernels/quant/neuron_layout.h), whose neurons are
// the rows or the columns of the checkpoint's tensor.
#ifndef LAPIDARY_STORAGE_NEURON_PACKER_H_
#define LAPIDARY_STORAGE_NEURON_PACKER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/quant/quantize.h"
#include "kernels/tensor.h"
#include "kernels/text/weights.h"
#include "storage/checkpoint.h"

namespace lapidary {

// The packed matrix, whole. The tensor is read once, front to back; memory
// holds one packed matrix (E4B, int8: 35 MB) and, for columns, the tensor
// transposed (bf16: 67 MB). Stops early once error->out_of_range.
//   spec   kNeuronRows or kNeuronColumns
//   dtype  kInt8 or kInt4
//   error  what it cost
//
// Errors: RESOURCE_EXHAUSTED.
absl::StatusOr<std::shared_ptr<const kernels::AlignedBuffer>> PackByNeuron(
    const kernels::text::TensorSpec& spec, const CheckpointTensor& tensor,
    kernels::DType dtype, kernels::QuantError* error);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_NEURON_PACKER_H_
