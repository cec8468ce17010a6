#include "storage/tensor_groups.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace lapidary {
namespace {

using kernels::DType;
using kernels::text::TensorSpec;
using kernels::text::TensorUse;

struct Group {
  const char* name;
  const char* part_of_names;
  DType in_int4;  // dtype of its matrices in an int4 model
};

// The first that fits counts.
constexpr Group kGroups[] = {
    {"embedding and head", "embed_tokens.", DType::kInt8},
    {"attention", ".self_attn.", DType::kInt4},
    {"FFN", ".mlp.", DType::kInt4},
    {"per-layer input", "per_layer", DType::kInt8},
    {"AltUp", "altup", DType::kInt8},
    {"LAuReL", ".laurel.", DType::kInt8},
};
constexpr Group kNorms = {"norms and coefficients", "", DType::kF32};

const Group& GroupOf(absl::string_view name, TensorUse use) {
  if (use != TensorUse::kGemm) return kNorms;
  const auto found = std::find_if(
      std::begin(kGroups), std::end(kGroups), [&](const Group& group) {
        return absl::StrContains(name, group.part_of_names);
      });
  return found == std::end(kGroups) ? kNorms : *found;
}

double Elements(const ManifestTensor& tensor) {
  double elements = 1;
  for (const int64_t dim : tensor.shape) elements *= static_cast<double>(dim);
  return elements;
}

// The group's line at a dtype.
TensorGroup Summarise(const Manifest& manifest, const Group& group,
                      DType dtype) {
  TensorGroup sum;
  sum.name = group.name;
  sum.dtype = dtype;
  double squares = 0, elements = 0;
  for (const ManifestTensor& tensor : manifest.tensors) {
    if (tensor.dtype != dtype || &GroupOf(tensor.name, tensor.use) != &group) {
      continue;
    }
    ++sum.tensors;
    sum.bytes += tensor.bytes;
    squares += Elements(tensor) * tensor.rms_error * tensor.rms_error;
    elements += Elements(tensor);
  }
  if (elements > 0) sum.rms_error = std::sqrt(squares / elements);
  return sum;
}

}  // namespace

DType PackedDType(const TensorSpec& spec, DType pack) {
  if (spec.use != TensorUse::kGemm) return DType::kF32;
  return pack == DType::kInt4 ? GroupOf(spec.name, spec.use).in_int4 : pack;
}

std::vector<TensorGroup> GroupTensors(const Manifest& manifest) {
  std::vector<const Group*> groups;
  for (const Group& group : kGroups) groups.push_back(&group);
  groups.push_back(&kNorms);
  std::vector<TensorGroup> lines;
  for (const Group* group : groups) {
    for (const DType dtype :
         {DType::kF32, DType::kBf16, DType::kInt8, DType::kInt4}) {
      TensorGroup line = Summarise(manifest, *group, dtype);
      if (line.tensors > 0) lines.push_back(std::move(line));
    }
  }
  return lines;
}

}  // namespace lapidary
