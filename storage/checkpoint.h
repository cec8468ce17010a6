// The tensors of a Hugging Face folder by name, whatever files they lie in and
// whatever prefix they carry.
//
//   auto checkpoint = Checkpoint::Open(folder);
//   const auto* w = (*checkpoint)->Find("layers.0.mlp.up_proj.weight");
//   RowReader rows(*w);
//   for (first …) Use(rows.Read(first, count), rows.dtype());
#ifndef LAPIDARY_STORAGE_CHECKPOINT_H_
#define LAPIDARY_STORAGE_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/tensor.h"
#include "storage/parameter_counts.h"
#include "storage/safetensors.h"

namespace lapidary {

enum class ParameterGroup { kText, kPle, kVision, kAudio };

struct CheckpointTensor {
  std::string stored_name;  // with its prefix
  const MappedFile* file = nullptr;
  SafetensorsEntry entry;
  ParameterGroup group = ParameterGroup::kText;

  // Elements along dim 0, and bytes of each.
  int64_t rows() const { return entry.shape.empty() ? 1 : entry.shape[0]; }
  size_t row_bytes() const { return rows() == 0 ? 0 : entry.bytes / rows(); }
  // "bf16 [2048, 8192] in model-00001-of-00003.safetensors"
  std::string ToString() const;
};

class Checkpoint {
 public:
  // Reads model.safetensors, or else the shards that
  // model.safetensors.index.json names.
  //
  // Errors: NOT_FOUND, INVALID_ARGUMENT (index and shards disagree, one tensor
  // twice), DATA_LOSS (a damaged file).
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(
      const std::string& folder);

  // By the name without its prefix: `model.`, `language_model.`,
  // `model.language_model.` or `language_model.model.`. Null if there is none.
  const CheckpointTensor* Find(absl::string_view name) const;
  const std::map<std::string, CheckpointTensor, std::less<>>& tensors() const {
    return tensors_;
  }
  size_t shards() const { return files_.size(); }

  // A head that repeats embed_tokens is not counted.
  ParameterCounts CountParameters() const;

 private:
  Checkpoint() = default;
  absl::Status AddShard(const std::string& path);

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, CheckpointTensor, std::less<>> tensors_;
};

// A tensor's name without the prefix of the model that it was saved from.
absl::string_view StripTensorPrefix(absl::string_view stored_name);

// True for the element types that weights may have: BF16, F16, F32.
bool IsWeightType(absl::string_view dtype);

// Reads a weight tensor front to back in pieces, letting go of the pages
// behind it, so that memory does not grow with the tensor.
class RowReader {
 public:
  // `tensor` must be of a weight type, and outlive this.
  explicit RowReader(const CheckpointTensor& tensor);

  // Of what Read returns: bf16 as it is, f16 widened to f32.
  kernels::DType dtype() const;

  // Rows [first, first + count), aligned for their type, valid until the next
  // call. `first` never falls from call to call.
  const void* Read(int64_t first, int64_t count);

 private:
  const CheckpointTensor& tensor_;
  size_t released_ = 0;  // bytes of the tensor
  std::vector<std::byte> copy_;
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_CHECKPOINT_H_
