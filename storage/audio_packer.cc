#include "storage/audio_packer.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "storage/checkpoint_check.h"

namespace lapidary {
namespace {

using kernels::audio::AudioTensorSpec;

bool HasTower(const Checkpoint& checkpoint) {
  return std::any_of(checkpoint.tensors().begin(), checkpoint.tensors().end(),
                     [](const auto& entry) {
                       return entry.second.group == ParameterGroup::kAudio;
                     });
}

}  // namespace

absl::StatusOr<std::vector<AudioTensorSpec>> CheckAudioTensors(
    const ModelConfig& config, const Checkpoint& checkpoint) {
  if (!config.has_audio || !HasTower(checkpoint)) {
    return std::vector<AudioTensorSpec>();
  }
  if (!config.audio.ok()) return config.audio.status();
  std::vector<AudioTensorSpec> specs = AudioTensorSpecs(*config.audio);
  std::set<std::string> wanted;
  for (const AudioTensorSpec& spec : specs) {
    const std::string& name = spec.packed.name;
    wanted.insert(name);
    const CheckpointTensor* tensor = checkpoint.Find(name);
    if (tensor == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          name,
          ": missing from the checkpoint; is a shard absent, or does "
          "config.json belong to another model?"));
    }
    if (auto s = CheckTensor(name, spec.shape, *tensor); !s.ok()) return s;
  }
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (tensor.group == ParameterGroup::kAudio && wanted.count(name) == 0 &&
        !kernels::audio::IsUnusedAudioTensor(name)) {
      return absl::InvalidArgumentError(absl::StrCat(
          tensor.stored_name,
          ": the tower that audio_config describes has no such tensor; do "
          "config.json and the weights belong together?"));
    }
  }
  return specs;
}

}  // namespace lapidary
