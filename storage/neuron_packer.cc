#include "storage/neuron_packer.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/quant/neuron_layout.h"

namespace lapidary {

using kernels::AlignedBuffer;
using kernels::kQuantBlock;
using kernels::text::TensorUse;

absl::StatusOr<std::shared_ptr<const AlignedBuffer>> PackByNeuron(
    const kernels::text::TensorSpec& spec, const CheckpointTensor& tensor,
    kernels::DType dtype, kernels::QuantError* error) {
  const int64_t rows = spec.shape[0], columns = spec.shape[1];
  const size_t bytes = PackedBytes(spec, dtype).value_or(0);
  const std::shared_ptr<AlignedBuffer> packed = AlignedBuffer::Make(bytes);
  if (packed == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", bytes, " bytes of ", spec.name));
  }
  std::memset(packed->data(), 0, bytes);
  const bool by_row = spec.use == TensorUse::kNeuronRows;
  const int64_t row_bytes = kernels::NeuronBytes(dtype, columns);
  RowReader reader(tensor);
  for (int64_t first = 0; first < rows && !error->out_of_range;
       first += kQuantBlock) {
    const int64_t count = std::min(kQuantBlock, rows - first);
    const void* source = reader.Read(first, count);
    error->Add(by_row ? QuantizeNeuronRows(reader.dtype(), source, count,
                                           columns, dtype,
                                           packed->data() + first * row_bytes)
                      : QuantizeNeuronBlocks(reader.dtype(), source, count,
                                             columns, rows, first / kQuantBlock,
                                             dtype, packed->data()));
  }
  return packed;
}

}  // namespace lapidary
