#include "storage/vision_packer.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "storage/checkpoint_check.h"

namespace lapidary {
namespace {

using kernels::vision::VisionTensorSpec;

bool HasTower(const Checkpoint& checkpoint) {
  return std::any_of(checkpoint.tensors().begin(), checkpoint.tensors().end(),
                     [](const auto& entry) {
                       return entry.second.group == ParameterGroup::kVision;
                     });
}

// The first weights of Gemma 3n have no stem bias and were made for another
// activation (gemma3n-vision.md §6).
absl::Status Missing(const std::string& name) {
  const bool obsolete = name == "vision_tower.timm_model.conv_stem.conv.bias";
  return absl::InvalidArgumentError(absl::StrCat(
      name, ": missing from the checkpoint; ",
      obsolete ? "it is the obsolete tower of June 2025: take the published "
                 "model's newer files"
               : "is a shard absent, or does config.json belong to another "
                 "model?"));
}

}  // namespace

absl::StatusOr<std::vector<VisionTensorSpec>> CheckVisionTensors(
    const ModelConfig& config, const Checkpoint& checkpoint) {
  if (!config.has_vision || !HasTower(checkpoint)) {
    return std::vector<VisionTensorSpec>();
  }
  if (!config.vision.ok()) return config.vision.status();
  std::vector<VisionTensorSpec> specs = VisionTensorSpecs(*config.vision);
  std::set<std::string> wanted;
  for (const VisionTensorSpec& spec : specs) {
    const std::string& name = spec.packed.name;
    wanted.insert(name);
    const CheckpointTensor* tensor = checkpoint.Find(name);
    if (tensor == nullptr) return Missing(name);
    if (auto s = CheckTensor(name, spec.shape, *tensor); !s.ok()) return s;
  }
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (tensor.group == ParameterGroup::kVision && wanted.count(name) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          tensor.stored_name,
          ": the tower that vision_config describes has no such tensor; do "
          "config.json and the weights belong together?"));
    }
  }
  return specs;
}

}  // namespace lapidary
