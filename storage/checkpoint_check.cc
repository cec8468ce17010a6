#include "storage/checkpoint_check.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/text/weights.h"

namespace lapidary {
namespace {

using kernels::text::TensorSpec;
using kernels::text::TensorUse;
using kernels::text::TextConfig;

// "a, b, c and 4 more"
std::string FirstOf(const std::vector<std::string>& names) {
  constexpr size_t kShown = 3;
  const std::vector<std::string> shown(
      names.begin(), names.begin() + std::min(kShown, names.size()));
  std::string text = absl::StrJoin(shown, ", ");
  if (names.size() > kShown) {
    absl::StrAppend(&text, " and ", names.size() - kShown, " more");
  }
  return text;
}

absl::Status CheckTextTensor(const TensorSpec& spec,
                             const CheckpointTensor& tensor) {
  std::vector<int64_t> wanted = spec.shape;
  // Rows of the PLE table past the text vocabulary are never looked up.
  const std::vector<int64_t>& shape = tensor.entry.shape;
  if (spec.use == TensorUse::kPleTable && shape.size() == 2) {
    wanted[0] = std::max(shape[0], wanted[0]);
  }
  return CheckTensor(spec.name, wanted, tensor);
}

absl::Status CheckUnexpected(const TextConfig& config,
                             const std::set<std::string>& wanted,
                             const Checkpoint& checkpoint) {
  std::vector<std::string> unexpected;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    const bool text = tensor.group == ParameterGroup::kText ||
                      tensor.group == ParameterGroup::kPle;
    if (text && wanted.count(name) == 0 && !IsUnusedTextTensor(config, name)) {
      unexpected.push_back(tensor.stored_name);
    }
  }
  if (unexpected.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      FirstOf(unexpected),
      ": the model that config.json describes has no such tensors; do "
      "config.json and the weights belong together?"));
}

absl::Status CheckTiedHead(const Checkpoint& checkpoint) {
  const CheckpointTensor* head = checkpoint.Find("lm_head.weight");
  if (head == nullptr) return absl::OkStatus();
  const CheckpointTensor* embedding = checkpoint.Find("embed_tokens.weight");
  const std::string remedy =
      "; Gemma 3n's head is tied to embed_tokens and needs no tensor: remove "
      "it, or save the model with tied weights";
  if (head->entry.dtype != embedding->entry.dtype ||
      head->entry.shape != embedding->entry.shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(head->stored_name, ": ", head->ToString(),
                     ", but embed_tokens is ", embedding->ToString(), remedy));
  }
  constexpr size_t kPiece = size_t{4} << 20;
  const size_t bytes = head->entry.bytes;
  for (size_t at = 0; at < bytes; at += kPiece) {
    const size_t count = std::min(kPiece, bytes - at);
    if (std::memcmp(head->file->data() + head->entry.offset + at,
                    embedding->file->data() + embedding->entry.offset + at,
                    count) != 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          head->stored_name, " differs from embed_tokens.weight", remedy));
    }
    head->file->Release(head->entry.offset + at, count);
    embedding->file->Release(embedding->entry.offset + at, count);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckTensor(const std::string& name,
                         const std::vector<int64_t>& shape,
                         const CheckpointTensor& tensor) {
  if (tensor.entry.shape != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", tensor.ToString(), ", but config.json says [",
                     absl::StrJoin(shape, ", "),
                     "]; do config.json and the weights belong together?"));
  }
  if (!IsWeightType(tensor.entry.dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", tensor.ToString(),
                     ": want BF16, F16 or F32; save the model in one of them"));
  }
  return absl::OkStatus();
}

absl::Status CheckTensors(const TextConfig& config,
                          const Checkpoint& checkpoint) {
  std::vector<std::string> missing;
  std::set<std::string> wanted;
  for (const TensorSpec& spec : TextTensorSpecs(config)) {
    wanted.insert(spec.name);
    const CheckpointTensor* tensor = checkpoint.Find(spec.name);
    if (tensor == nullptr) {
      missing.push_back(spec.name);
      continue;
    }
    if (auto s = CheckTextTensor(spec, *tensor); !s.ok()) return s;
  }
  if (!missing.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(FirstOf(missing),
                     ": missing from the checkpoint; is a shard absent, or "
                     "does config.json belong to another model?"));
  }
  if (auto s = CheckUnexpected(config, wanted, checkpoint); !s.ok()) return s;
  return CheckTiedHead(checkpoint);
}

}  // namespace lapidary
