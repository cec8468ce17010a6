// The groups that a decoder's tensors fall into: which dtype each is packed
// at, and what that takes and costs.
#ifndef LAPIDARY_STORAGE_TENSOR_GROUPS_H_
#define LAPIDARY_STORAGE_TENSOR_GROUPS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/tensor.h"
#include "kernels/text/weights.h"
#include "storage/manifest.h"

namespace lapidary {

// The groups that have matrices.
enum class MatrixGroup : uint8_t {
  kHead,  // and the embedding, which is the same matrix
  kAttention,
  kFfn,
  kPerLayerInput,
  kAltUp,
  kLaurel,
  kVision,  // tower and embedder
  kAudio,   // likewise
};

// What a model is packed as.
struct PackDTypes {
  kernels::DType matrices = kernels::DType::kBf16;
  // Groups that are packed otherwise than the table in tensor_groups.cc has it.
  std::map<MatrixGroup, kernels::DType> others;
  // Of the PLE table: kInt8, kBf16 or kF32. None: as PackedPleDType chooses.
  std::optional<kernels::DType> ple;
};

// The dtype of a tensor in a model that is packed as `dtypes`; norms and
// coefficients are always f32.
kernels::DType PackedDType(const kernels::text::TensorSpec& spec,
                           const PackDTypes& dtypes);

// The dtype of the PLE table, whose checkpoint has it as `source`.
kernels::DType PackedPleDType(kernels::DType source, const PackDTypes& dtypes);

struct TensorGroup {
  std::string name;  // "attention", "FFN", …
  kernels::DType dtype = kernels::DType::kF32;
  int64_t tensors = 0;
  uint64_t bytes = 0;
  // Of the weights, relative to their own root mean square; 0 where they are
  // not quantised.
  double rms_error = 0;
};

// A packed model's tensors by group and dtype, in the order of the table in
// tensor_groups.cc.
std::vector<TensorGroup> GroupTensors(const Manifest& manifest);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_TENSOR_GROUPS_H_
