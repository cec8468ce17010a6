#include "storage/tensor_groups.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "kernels/audio/weights.h"
#include "kernels/vision/weights.h"

namespace lapidary {
namespace {

using kernels::DType;
using kernels::text::TensorSpec;
using kernels::text::TensorUse;

struct Group {
  const char* name;
  const char* part_of_names;
  MatrixGroup id;
  DType in_int4;  // dtype of its matrices in an int4 model
};

// The first that fits counts.
//
// Measured by tests/bench/dtype_cost: KL from f32 in nats, and the share of
// positions whose likeliest id changed, on the bundled model and on random
// ones; MiB saved at the E2B shape.
//
//                                     bundled          random       saves
//   bf16                           9.2e-6  0.1 %   0.0016  2.7 %
//   int8                           3.3e-4  0.6 %   0.017   7.3 %
//     with the head int4           1.62e-2 3.9 %   0.27   35.4 %     240
//   attention and FFN int4, others 1.06e-2 3.2 %   0.30   36.0 %     806
//     and the head                 2.62e-2 4.9 %   0.45   42.5 %     240
//     and per-layer input          1.25e-2 3.3 %   0.32   37.0 %      21
//     and AltUp                    1.10e-2 3.4 %   0.33   36.5 %      11
//     and LAuReL                   1.19e-2 3.4 %   0.34   37.6 %       5
//   everything                     2.95e-2 5.1 %   0.53   45.1 %    1084
//
// The head costs the most and saves the most: without it an E2B does not stay
// below 1.6 GB, and each token reads a fifth more. Who has the memory can say
// int8 (pack --head-dtype). The three last save 3 % and make errors in every
// layer's residual stream: they stay int8.
constexpr Group kGroups[] = {
    {"embedding and head", "embed_tokens.", MatrixGroup::kHead, DType::kInt4},
    {"attention", ".self_attn.", MatrixGroup::kAttention, DType::kInt4},
    {"FFN", ".mlp.", MatrixGroup::kFfn, DType::kInt4},
    {"per-layer input", "per_layer", MatrixGroup::kPerLayerInput, DType::kInt8},
    {"AltUp", "altup", MatrixGroup::kAltUp, DType::kInt8},
    {"LAuReL", ".laurel.", MatrixGroup::kLaurel, DType::kInt8},
};
// Before the others: their names have parts of theirs. Quantised models keep
// them in bf16: convolutions have no 8-bit kernels here, and what 8 bits cost
// in a tower is not known. The audio tower's linear layers are int8 for whoever
// asks (pack --audio-dtype).
constexpr Group kVisionGroup = {"vision tower", "", MatrixGroup::kVision,
                                DType::kBf16};
constexpr Group kAudioGroup = {"audio tower", "", MatrixGroup::kAudio,
                               DType::kBf16};
constexpr char kNorms[] = "norms and coefficients";

// Null for the decoder's norms and coefficients.
const Group* GroupOf(absl::string_view name, TensorUse use) {
  if (kernels::vision::IsVisionTensor(name)) return &kVisionGroup;
  if (kernels::audio::IsAudioTensor(name)) return &kAudioGroup;
  if (!IsMatrix(use)) return nullptr;
  const auto found = std::find_if(
      std::begin(kGroups), std::end(kGroups), [&](const Group& group) {
        return absl::StrContains(name, group.part_of_names);
      });
  return found == std::end(kGroups) ? nullptr : found;
}

double Elements(const ManifestTensor& tensor) {
  double elements = 1;
  for (const int64_t dim : tensor.shape) elements *= static_cast<double>(dim);
  return elements;
}

// The group's line at a dtype.
TensorGroup Summarise(const Manifest& manifest, const Group* group,
                      DType dtype) {
  TensorGroup sum;
  sum.name = group == nullptr ? kNorms : group->name;
  sum.dtype = dtype;
  double squares = 0, elements = 0;
  for (const ManifestTensor& tensor : manifest.tensors) {
    if (tensor.dtype != dtype) continue;
    if (GroupOf(tensor.name, tensor.use) != group) continue;
    ++sum.tensors;
    sum.bytes += tensor.bytes;
    squares += Elements(tensor) * tensor.rms_error * tensor.rms_error;
    elements += Elements(tensor);
  }
  if (elements > 0) sum.rms_error = std::sqrt(squares / elements);
  return sum;
}

}  // namespace

DType PackedDType(const TensorSpec& spec, const PackDTypes& dtypes) {
  if (!IsMatrix(spec.use)) return DType::kF32;
  const Group* group = GroupOf(spec.name, spec.use);
  if (group == nullptr) return dtypes.matrices;
  const auto other = dtypes.others.find(group->id);
  if (group->id == MatrixGroup::kVision || group->id == MatrixGroup::kAudio) {
    const bool asked = other != dtypes.others.end();
    const DType wanted = asked ? other->second : dtypes.matrices;
    if (asked && wanted == DType::kInt8 &&
        kernels::audio::IsAudioLinear(spec)) {
      return DType::kInt8;
    }
    return wanted == DType::kF32 ? DType::kF32 : DType::kBf16;
  }
  if (other != dtypes.others.end()) return other->second;
  return dtypes.matrices == DType::kInt4 ? group->in_int4 : dtypes.matrices;
}

DType PackedPleDType(DType source, const PackDTypes& dtypes) {
  if (dtypes.ple.has_value()) return *dtypes.ple;
  const bool quantised =
      dtypes.matrices == DType::kInt8 || dtypes.matrices == DType::kInt4;
  return quantised ? DType::kInt8 : source;
}

std::vector<TensorGroup> GroupTensors(const Manifest& manifest) {
  std::vector<const Group*> groups;
  for (const Group& group : kGroups) groups.push_back(&group);
  groups.push_back(&kVisionGroup);
  groups.push_back(&kAudioGroup);
  groups.push_back(nullptr);
  std::vector<TensorGroup> lines;
  for (const Group* group : groups) {
    for (const DType dtype :
         {DType::kF32, DType::kBf16, DType::kInt8, DType::kInt4}) {
      TensorGroup line = Summarise(manifest, group, dtype);
      if (line.tensors > 0) lines.push_back(std::move(line));
    }
  }
  return lines;
}

}  // namespace lapidary
