// The groups that a decoder's tensors fall into: which dtype each is packed
// at, and what that takes and costs.
#ifndef LAPIDARY_STORAGE_TENSOR_GROUPS_H_
#define LAPIDARY_STORAGE_TENSOR_GROUPS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/tensor.h"
#include "kernels/text/weights.h"
#include "storage/manifest.h"

namespace lapidary {

// The dtype of a tensor in a model that is packed as `pack`. The matrices of
// an int4 model that decide little of its size, or whose error every token
// meets, are int8; norms and coefficients are always f32. Another answer for a
// tensor is another version of the packed format (manifest.h).
kernels::DType PackedDType(const kernels::text::TensorSpec& spec,
                           kernels::DType pack);

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
