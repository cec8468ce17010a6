#include "storage/checkpoint.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/file_io.h"
#include "storage/json.h"
#include "storage/model_files.h"

namespace lapidary {
namespace {

using kernels::DType;

constexpr size_t kMaxShards = 4096;

// Longest first: each is a prefix of what some class writes.
constexpr absl::string_view kPrefixes[] = {"model.language_model.",
                                           "language_model.model.",
                                           "language_model.", "model."};

ParameterGroup GroupOf(absl::string_view name) {
  if (name == "embed_tokens_per_layer.weight") return ParameterGroup::kPle;
  if (absl::StartsWith(name, "vision_tower.") ||
      absl::StartsWith(name, "embed_vision.")) {
    return ParameterGroup::kVision;
  }
  if (absl::StartsWith(name, "audio_tower.") ||
      absl::StartsWith(name, "embed_audio.")) {
    return ParameterGroup::kAudio;
  }
  return ParameterGroup::kText;
}

std::string BaseName(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

// A shard's name comes from the index: it must stay in the folder.
bool IsPlainFileName(const std::string& name) {
  return absl::EndsWith(name, ".safetensors") &&
         name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos && name.size() < 256;
}

// weight_map of the index: stored tensor name → shard.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(
    const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, kMaxSideFileBytes);
  if (!text.ok()) return text.status();
  absl::StatusOr<Json> json = ParseJson(*text, path);
  if (!json.ok()) return json.status();
  const JsonFields fields(*json, path);
  const Json* weight_map = fields.Find("weight_map");
  if (weight_map == nullptr || !weight_map->is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " has no weight_map; download it again"));
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [name, shard] : weight_map->items()) {
    if (!shard.is_string() || !IsPlainFileName(shard.get<std::string>())) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": weight_map puts ", name, " into ", JsonForMessage(shard),
          ", which is not the name of a .safetensors file in the same folder"));
    }
    shard_of[name] = shard.get<std::string>();
  }
  return shard_of;
}

float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1Fu;
  const uint32_t fraction = bits & 0x3FFu;
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 31
                            ? sign | 0x7F800000u | fraction << 13
                            : sign | (exponent + 112) << 23 | fraction << 13;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

}  // namespace

std::string CheckpointTensor::ToString() const {
  return absl::StrCat(entry.dtype, " [", absl::StrJoin(entry.shape, ", "),
                      "] in ", BaseName(file->path()));
}

absl::string_view StripTensorPrefix(absl::string_view stored_name) {
  for (const absl::string_view prefix : kPrefixes) {
    if (absl::StartsWith(stored_name, prefix)) {
      return stored_name.substr(prefix.size());
    }
  }
  return stored_name;
}

absl::Status Checkpoint::AddShard(const std::string& path) {
  absl::StatusOr<std::unique_ptr<SafetensorsFile>> file =
      SafetensorsFile::Open(path);
  if (!file.ok()) return file.status();
  for (const SafetensorsEntry& entry : (*file)->entries()) {
    const std::string name(StripTensorPrefix(entry.name));
    CheckpointTensor tensor;
    tensor.stored_name = entry.name;
    tensor.file = &(*file)->file();
    tensor.entry = entry;
    tensor.group = GroupOf(name);
    const auto [there, added] = tensors_.emplace(name, std::move(tensor));
    if (!added) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, " is there twice: as ", there->second.stored_name, " in ",
          BaseName(there->second.file->path()), " and as ", entry.name, " in ",
          BaseName(path), "; remove the file that does not belong"));
    }
  }
  files_.push_back(*std::move(file));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(
    const std::string& folder) {
  auto checkpoint = std::unique_ptr<Checkpoint>(new Checkpoint());
  const std::string single = absl::StrCat(folder, "/", kSingleShardFile);
  const std::string index = absl::StrCat(folder, "/", kIndexFile);
  if (FileExists(single)) {
    if (auto s = checkpoint->AddShard(single); !s.ok()) return s;
    return checkpoint;
  }
  if (!FileExists(index)) {
    return absl::NotFoundError(absl::StrCat(
        folder, " has neither ", kSingleShardFile, " nor ", kIndexFile,
        "; give the folder of a Hugging Face checkpoint in safetensors"));
  }
  absl::StatusOr<std::map<std::string, std::string>> shard_of =
      ReadIndex(index);
  if (!shard_of.ok()) return shard_of.status();
  std::set<std::string> shards;
  for (const auto& [name, shard] : *shard_of) shards.insert(shard);
  if (shards.size() > kMaxShards) {
    return absl::InvalidArgumentError(
        absl::StrCat(index, " names ", shards.size(), " shards; at most ",
                     kMaxShards, " are read"));
  }
  for (const std::string& shard : shards) {
    const absl::Status added =
        checkpoint->AddShard(absl::StrCat(folder, "/", shard));
    if (absl::IsNotFound(added)) {
      return absl::NotFoundError(absl::StrCat(folder, "/", shard,
                                              " is missing, but ", kIndexFile,
                                              " names it; download the shard"));
    }
    if (!added.ok()) return added;
  }
  for (const auto& [name, shard] : *shard_of) {
    const CheckpointTensor* tensor = checkpoint->Find(StripTensorPrefix(name));
    if (tensor == nullptr || tensor->stored_name != name ||
        BaseName(tensor->file->path()) != shard) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": ", kIndexFile, " puts it into ", shard,
                       ", which does not hold it; download the shard again"));
    }
  }
  for (const auto& [name, tensor] : checkpoint->tensors_) {
    if (shard_of->count(tensor.stored_name) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          tensor.stored_name, " in ", BaseName(tensor.file->path()),
          " is not in ", kIndexFile, "; download the index again"));
    }
  }
  return checkpoint;
}

const CheckpointTensor* Checkpoint::Find(absl::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

ParameterCounts Checkpoint::CountParameters() const {
  ParameterCounts counts;
  for (const auto& [name, tensor] : tensors_) {
    const int64_t elements = tensor.entry.elements();
    switch (tensor.group) {
      case ParameterGroup::kText:
        if (name != "lm_head.weight") counts.text += elements;
        break;
      case ParameterGroup::kPle:
        counts.ple += elements;
        break;
      case ParameterGroup::kVision:
        counts.vision += elements;
        break;
      case ParameterGroup::kAudio:
        counts.audio += elements;
        break;
    }
  }
  return counts;
}

bool IsWeightType(absl::string_view dtype) {
  return dtype == "BF16" || dtype == "F16" || dtype == "F32";
}

RowReader::RowReader(const CheckpointTensor& tensor) : tensor_(tensor) {}

DType RowReader::dtype() const {
  return tensor_.entry.dtype == "BF16" ? DType::kBf16 : DType::kF32;
}

const void* RowReader::Read(int64_t first, int64_t count) {
  const SafetensorsEntry& entry = tensor_.entry;
  const size_t begin = first * tensor_.row_bytes();
  const size_t bytes = count * tensor_.row_bytes();
  tensor_.file->Release(entry.offset + released_, begin - released_);
  released_ = begin;

  const std::byte* source = tensor_.file->data() + entry.offset + begin;
  if (entry.dtype == "F16") {
    copy_.resize(bytes * 2);
    auto* values = reinterpret_cast<float*>(copy_.data());
    for (size_t i = 0; i < bytes / 2; ++i) {
      uint16_t bits;
      std::memcpy(&bits, source + 2 * i, sizeof(bits));
      values[i] = HalfToFloat(bits);
    }
    return copy_.data();
  }
  if (reinterpret_cast<uintptr_t>(source) % SizeOf(dtype()) == 0) {
    return source;
  }
  copy_.assign(source, source + bytes);
  return copy_.data();
}

}  // namespace lapidary
