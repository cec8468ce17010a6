#include "storage/permuted_packer.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/bf16.h"
#include "kernels/gemm/weight_layout.h"

namespace lapidary {
namespace {

using kernels::AlignedBuffer;
using kernels::DType;
using kernels::TapOrder;
using kernels::text::TensorSpec;
using kernels::text::TensorUse;

// Elements in the packed order, as f32.
std::vector<float> Reordered(const TapOrder& order,
                             const CheckpointTensor& tensor) {
  RowReader reader(tensor);
  const void* source = reader.Read(0, tensor.rows());
  const size_t count = tensor.entry.elements();
  std::vector<float> wide(count), packed(count);
  if (reader.dtype() == DType::kF32) {
    std::memcpy(wide.data(), source, count * sizeof(float));
  } else {
    const auto* bits = static_cast<const uint16_t*>(source);
    std::transform(bits, bits + count, wide.begin(), kernels::Bf16ToFloat);
  }
  ReorderTaps(order, wide.data(), packed.data());
  return packed;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const AlignedBuffer>> PackPermuted(
    const TensorSpec& packed, const TapOrder& order,
    const CheckpointTensor& tensor, DType dtype) {
  const size_t bytes = PackedBytes(packed, dtype).value_or(0);
  const std::shared_ptr<AlignedBuffer> buffer = AlignedBuffer::Make(bytes);
  if (buffer == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", bytes, " bytes of ", packed.name));
  }
  const std::vector<float> values = Reordered(order, tensor);
  if (packed.use == TensorUse::kPlain) {
    std::memcpy(buffer->data(), values.data(), bytes);
    return buffer;
  }
  const int64_t rows = packed.shape[0], k = packed.shape[1];
  const int64_t step = kernels::WeightPanelRows(dtype);
  const size_t panel_bytes = kernels::WeightPanelBytes(dtype, k).value_or(0);
  for (int64_t row = 0; row < rows; row += step) {
    PackWeightPanel(DType::kF32, &values[row * k], std::min(step, rows - row),
                    k, dtype, buffer->data() + row / step * panel_bytes);
  }
  return buffer;
}

}  // namespace lapidary
