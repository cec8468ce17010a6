#include "storage/neuron_packer.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/parallel.h"
#include "kernels/quant/neuron_layout.h"
#include "kernels/quant/quantize.h"

namespace lapidary {

using kernels::AlignedBuffer;
using kernels::text::TensorUse;

namespace {

// Rows read and packed at a time.
constexpr int64_t kRowsTogether = 64;

// [rows][columns] as [columns][rows]: a down projection's neurons as rows.
template <typename T>
void Transpose(RowReader* reader, int64_t rows, int64_t columns,
               std::byte* out) {
  T* transposed = reinterpret_cast<T*>(out);
  for (int64_t first = 0; first < rows; first += kRowsTogether) {
    const int64_t count = std::min(kRowsTogether, rows - first);
    const auto* source = static_cast<const T*>(reader->Read(first, count));
    kernels::ParallelFor(columns, [&](int64_t column) {
      for (int64_t row = 0; row < count; ++row) {
        transposed[column * rows + first + row] =
            source[row * columns + column];
      }
    });
  }
}

absl::StatusOr<std::shared_ptr<AlignedBuffer>> Room(size_t bytes,
                                                    absl::string_view name) {
  std::shared_ptr<AlignedBuffer> buffer = AlignedBuffer::Make(bytes);
  if (buffer == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", bytes, " bytes of ", name));
  }
  return buffer;
}

// The tensor's columns as rows, in the reader's dtype.
absl::StatusOr<std::shared_ptr<AlignedBuffer>> Columns(
    RowReader* reader, const kernels::text::TensorSpec& spec) {
  const int64_t rows = spec.shape[0], columns = spec.shape[1];
  const bool bf16 = reader->dtype() == kernels::DType::kBf16;
  const size_t size = bf16 ? sizeof(uint16_t) : sizeof(float);
  absl::StatusOr<std::shared_ptr<AlignedBuffer>> transposed =
      Room(rows * columns * size, spec.name);
  if (!transposed.ok()) return transposed;
  if (bf16) {
    Transpose<uint16_t>(reader, rows, columns, (*transposed)->data());
  } else {
    Transpose<float>(reader, rows, columns, (*transposed)->data());
  }
  return transposed;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const AlignedBuffer>> PackByNeuron(
    const kernels::text::TensorSpec& spec, const CheckpointTensor& tensor,
    kernels::DType dtype, kernels::QuantError* error) {
  const int64_t rows = spec.shape[0], columns = spec.shape[1];
  const size_t bytes = PackedBytes(spec, dtype).value_or(0);
  absl::StatusOr<std::shared_ptr<AlignedBuffer>> packed =
      Room(bytes, spec.name);
  if (!packed.ok()) return packed.status();
  std::byte* records = (*packed)->data();
  std::memset(records, 0, bytes);
  RowReader reader(tensor);
  if (spec.use != TensorUse::kNeuronRows) {
    const auto neurons = Columns(&reader, spec);
    if (!neurons.ok()) return neurons.status();
    error->Add(kernels::QuantizeNeurons(reader.dtype(), (*neurons)->data(),
                                        columns, rows, dtype, records));
    return *packed;
  }
  const int64_t record_bytes = kernels::NeuronBytes(dtype, columns);
  for (int64_t first = 0; first < rows && !error->out_of_range;
       first += kRowsTogether) {
    const int64_t count = std::min(kRowsTogether, rows - first);
    error->Add(kernels::QuantizeNeurons(
        reader.dtype(), reader.Read(first, count), count, columns, dtype,
        records + first * record_bytes));
  }
  return *packed;
}

}  // namespace lapidary
