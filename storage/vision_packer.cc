#include "storage/vision_packer.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/bf16.h"
#include "kernels/gemm/weight_layout.h"
#include "storage/checkpoint_check.h"

namespace lapidary {
namespace {

using kernels::AlignedBuffer;
using kernels::DType;
using kernels::text::TensorSpec;
using kernels::text::TensorUse;
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

// Elements in the packed order, as f32.
std::vector<float> Reordered(const VisionTensorSpec& spec,
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
  ToPackedOrder(spec, wide.data(), packed.data());
  return packed;
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

absl::StatusOr<std::shared_ptr<const AlignedBuffer>> PackPermuted(
    const VisionTensorSpec& spec, const CheckpointTensor& tensor, DType dtype) {
  const TensorSpec& packed = spec.packed;
  const size_t bytes = PackedBytes(packed, dtype).value_or(0);
  const std::shared_ptr<AlignedBuffer> buffer = AlignedBuffer::Make(bytes);
  if (buffer == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", bytes, " bytes of ", packed.name));
  }
  const std::vector<float> values = Reordered(spec, tensor);
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
