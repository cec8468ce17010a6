#include "storage/packed_model.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/gemm/weight_layout.h"
#include "storage/file_io.h"
#include "storage/manifest.h"
#include "storage/mapped_file.h"
#include "storage/model_files.h"

namespace lapidary {
namespace {

using kernels::DType;
using kernels::text::PackedTensor;
using kernels::text::TensorSpec;
using kernels::text::TensorUse;

constexpr size_t kMaxManifestBytes = size_t{64} << 20;

bool IsWeightFile(absl::string_view path) {
  return absl::StartsWith(path, absl::StrCat(kWeightsFolder, "/")) &&
         absl::EndsWith(path, ".bin");
}

// The manifest may name only what packing writes, so that it can never lead
// out of the folder.
bool IsKnownPath(absl::string_view path) {
  if (IsWeightFile(path)) {
    const absl::string_view name =
        path.substr(absl::string_view(kWeightsFolder).size() + 1);
    return name.find('/') == absl::string_view::npos && name[0] != '.';
  }
  for (const char* copied : kCopiedFiles) {
    if (path == copied) return true;
  }
  return false;
}

// A matrix says itself how it was packed; anything else is f32.
bool IsDTypeOf(const TensorSpec& spec, DType dtype) {
  return IsMatrix(spec.use) ? kernels::IsWeightDType(dtype)
                            : dtype == DType::kF32;
}

using MappedFiles = std::map<std::string, std::unique_ptr<MappedFile>>;
using MappedTensors = std::map<std::string, PackedTensor, std::less<>>;

// A tower and what its weights lie in.
template <typename Weights>
struct MappedTower {
  MappedFiles files;
  Weights weights;
};

// Whether a file is mapped with the model, and not when a tower is loaded.
bool IsDecoderFile(absl::string_view path) {
  return IsWeightFile(path) && path != kVisionFile && path != kAudioFile;
}

absl::StatusOr<PackedTensor> FindTensor(const MappedTensors& tensors,
                                        const std::string& folder,
                                        absl::string_view name) {
  const auto it = tensors.find(name);
  if (it == tensors.end()) {
    return absl::NotFoundError(absl::StrCat(folder, " has no tensor ", name,
                                            "; pack the model again"));
  }
  return it->second;
}

}  // namespace

struct PackedModel::Impl {
  std::string folder;
  Manifest manifest;
  ModelConfig config;
  MappedFiles files;
  MappedTensors tensors;
  size_t weight_bytes = 0;
  size_t vision_bytes = 0;
  size_t audio_bytes = 0;

  std::string Path(absl::string_view name) const {
    return absl::StrCat(folder, "/", name);
  }

  // Of a tower, by its file.
  std::string Fingerprint(const char* tower_file) const;
  DType CommonDType(const char* tower_file) const;
  absl::Status ReadManifest();
  absl::Status CheckFiles(bool verify_weights);
  absl::Status CheckFile(const ManifestFile& file, bool verify);
  absl::Status CheckPle();
  absl::Status MapTensors();
  // The tensors of `specs`, in the mapped files.
  absl::Status MapAll(const std::vector<TensorSpec>& specs,
                      const MappedFiles& mapped, MappedTensors* out) const;
  absl::Status MapTensor(const ManifestTensor& tensor, const TensorSpec& spec,
                         const MappedFiles& mapped, MappedTensors* out) const;
  absl::StatusOr<std::unique_ptr<MappedFile>> Map(
      const ManifestFile& file) const;
  // Maps the file `path` and binds the tower's weights in it.
  //   specs  TowerTensorSpec: VisionTensorSpec, AudioTensorSpec
  //   bind   of the tensors in it, by a TensorLookup
  template <typename Weights, typename TowerTensorSpec, typename Bind>
  absl::StatusOr<std::shared_ptr<const Weights>> LoadTower(
      absl::string_view path, std::vector<TowerTensorSpec> specs,
      const Bind& bind) const;
};

absl::Status PackedModel::Impl::ReadManifest() {
  const std::string path = Path(kManifestFile);
  if (!FileExists(folder)) {
    return absl::NotFoundError(absl::StrCat(
        folder, " does not exist; give a folder that lapidary pack made"));
  }
  absl::StatusOr<std::string> text = ReadFile(path, kMaxManifestBytes);
  if (absl::IsNotFound(text.status())) {
    const bool unfinished = FileExists(Path(kUnfinishedFile));
    const bool checkpoint =
        FileExists(Path(kSingleShardFile)) || FileExists(Path(kIndexFile));
    return absl::FailedPreconditionError(absl::StrCat(
        folder, " has no ", kManifestFile, ": ",
        unfinished   ? "packing was not finished; run lapidary pack again"
        : checkpoint ? "it is a Hugging Face checkpoint; pack it with "
                       "lapidary pack first"
                     : "it is not a packed model, or packing was not "
                       "finished; run lapidary pack"));
  }
  if (!text.ok()) return text.status();
  absl::StatusOr<Manifest> parsed = ParseManifest(*text, path);
  if (!parsed.ok()) return parsed.status();
  manifest = *std::move(parsed);
  return absl::OkStatus();
}

absl::Status PackedModel::Impl::CheckFile(const ManifestFile& file,
                                          bool verify) {
  const std::string path = Path(file.path);
  absl::StatusOr<uint64_t> bytes = FileBytes(path);
  if (absl::IsNotFound(bytes.status())) return DamagedModel(path, "is missing");
  if (!bytes.ok()) return bytes.status();
  if (*bytes != file.bytes) {
    return DamagedModel(
        path, absl::StrCat("has ", *bytes, " bytes, ", kManifestFile, " says ",
                           file.bytes));
  }
  if (!verify) return absl::OkStatus();
  absl::StatusOr<std::string> checksum = FileChecksum(path);
  if (!checksum.ok()) return checksum.status();
  if (*checksum != file.checksum) {
    return DamagedModel(
        path, absl::StrCat("its checksum is ", *checksum, ", ", kManifestFile,
                           " says ", file.checksum,
                           ": the file was changed or damaged"));
  }
  return absl::OkStatus();
}

absl::Status PackedModel::Impl::CheckFiles(bool verify_weights) {
  std::set<std::string> seen;
  for (const ManifestFile& file : manifest.files) {
    if (!IsKnownPath(file.path) || !seen.insert(file.path).second) {
      return DamagedModel(Path(kManifestFile),
                          absl::StrCat("names the file \"", file.path,
                                       "\", which is not a packed model's"));
    }
    // The copied files are small: always read.
    const bool weights = IsWeightFile(file.path);
    if (auto s = CheckFile(file, verify_weights || !weights); !s.ok()) {
      return s;
    }
    if (file.path == kVisionFile) {
      vision_bytes = file.bytes;
    } else if (file.path == kAudioFile) {
      audio_bytes = file.bytes;
    } else if (weights) {
      weight_bytes += file.bytes;
    }
  }
  if (seen.count(kConfigFile) == 0) {
    return DamagedModel(Path(kManifestFile), "does not name config.json");
  }
  return absl::OkStatus();
}

absl::Status PackedModel::Impl::CheckPle() {
  const PleTableShape& ple = manifest.ple;
  if (ple.tokens != config.text.vocab_size_per_layer_input ||
      ple.layers != config.text.num_hidden_layers ||
      ple.width != config.text.hidden_size_per_layer_input) {
    return DamagedModel(
        Path(kManifestFile),
        "its PLE table has another shape than config.json says");
  }
  if (!FileExists(Path(kPleFolder))) {
    return DamagedModel(Path(kPleFolder), "the PLE table is missing");
  }
  return absl::OkStatus();
}

absl::Status PackedModel::Impl::MapTensor(const ManifestTensor& tensor,
                                          const TensorSpec& spec,
                                          const MappedFiles& mapped,
                                          MappedTensors* out) const {
  const std::string where = Path(kManifestFile);
  if (tensor.shape != spec.shape || tensor.use != spec.use ||
      tensor.row_blocks != spec.row_blocks || !IsDTypeOf(spec, tensor.dtype) ||
      tensor.bytes != PackedBytes(spec, tensor.dtype)) {
    return DamagedModel(
        where,
        absl::StrCat(tensor.name, " is ", NameOf(tensor.dtype), " [",
                     absl::StrJoin(tensor.shape, ", "), "], ", tensor.bytes,
                     " bytes, which config.json does not want"));
  }
  const auto file = mapped.find(tensor.file);
  if (file == mapped.end() || tensor.offset % kTensorAlignment != 0 ||
      tensor.offset > file->second->size() ||
      tensor.bytes > file->second->size() - tensor.offset) {
    return DamagedModel(
        where, absl::StrCat(tensor.name, " lies outside of ", tensor.file,
                            ", or is not aligned"));
  }
  PackedTensor packed;
  packed.dtype = tensor.dtype;
  packed.use = spec.use;
  packed.shape = spec.shape;
  packed.row_blocks = spec.row_blocks;
  packed.data = file->second->data() + tensor.offset;
  out->emplace(tensor.name, std::move(packed));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<MappedFile>> PackedModel::Impl::Map(
    const ManifestFile& file) const {
  auto mapped =
      MappedFile::Open(Path(file.path), MappedFile::Access::kResident);
  if (mapped.ok() && (*mapped)->size() != file.bytes) {
    return DamagedModel(Path(file.path),
                        "changed its size while it was opened");
  }
  return mapped;
}

absl::Status PackedModel::Impl::MapAll(const std::vector<TensorSpec>& specs,
                                       const MappedFiles& mapped,
                                       MappedTensors* out) const {
  std::map<std::string, const ManifestTensor*> by_name;
  for (const ManifestTensor& tensor : manifest.tensors) {
    by_name[tensor.name] = &tensor;
  }
  for (const TensorSpec& spec : specs) {
    if (spec.use == TensorUse::kPleTable) continue;
    const auto it = by_name.find(spec.name);
    if (it == by_name.end()) {
      return DamagedModel(Path(kManifestFile),
                          absl::StrCat(spec.name, " is missing"));
    }
    if (auto s = MapTensor(*it->second, spec, mapped, out); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status PackedModel::Impl::MapTensors() {
  for (const ManifestFile& file : manifest.files) {
    if (!IsDecoderFile(file.path)) continue;
    absl::StatusOr<std::unique_ptr<MappedFile>> mapped = Map(file);
    if (!mapped.ok()) return mapped.status();
    files.emplace(file.path, *std::move(mapped));
  }
  const auto has_its_dtype = [&](const ManifestTensor& tensor) {
    return IsMatrix(tensor.use) && tensor.dtype == manifest.dtype;
  };
  if (std::none_of(manifest.tensors.begin(), manifest.tensors.end(),
                   has_its_dtype)) {
    return DamagedModel(
        Path(kManifestFile),
        absl::StrCat("no matrix is ", NameOf(manifest.dtype), ", as it says"));
  }
  return MapAll(TextTensorSpecs(config.text), files, &tensors);
}

template <typename Weights, typename TowerTensorSpec, typename Bind>
absl::StatusOr<std::shared_ptr<const Weights>> PackedModel::Impl::LoadTower(
    absl::string_view path, std::vector<TowerTensorSpec> specs,
    const Bind& bind) const {
  auto tower = std::make_shared<MappedTower<Weights>>();
  for (const ManifestFile& file : manifest.files) {
    if (file.path != path) continue;
    absl::StatusOr<std::unique_ptr<MappedFile>> mapped_file = Map(file);
    if (!mapped_file.ok()) return mapped_file.status();
    tower->files.emplace(file.path, *std::move(mapped_file));
  }
  std::vector<TensorSpec> packed;
  for (TowerTensorSpec& spec : specs) packed.push_back(std::move(spec.packed));
  MappedTensors found;
  if (auto s = MapAll(packed, tower->files, &found); !s.ok()) return s;
  absl::StatusOr<Weights> weights = bind(kernels::text::TensorLookup(
      [&](absl::string_view name) { return FindTensor(found, folder, name); }));
  if (!weights.ok()) return weights.status();
  tower->weights = *std::move(weights);
  const Weights* bound = &tower->weights;
  return std::shared_ptr<const Weights>(tower, bound);
}

PackedModel::PackedModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PackedModel::~PackedModel() = default;

absl::StatusOr<std::unique_ptr<PackedModel>> PackedModel::Open(
    const std::string& folder, const PackedModelOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  if (auto s = impl->ReadManifest(); !s.ok()) return s;
  if (auto s = impl->CheckFiles(options.verify_weights); !s.ok()) return s;
  absl::StatusOr<ModelConfig> config = ReadModelConfig(folder);
  if (!config.ok()) return config.status();
  impl->config = *std::move(config);
  if (auto s = impl->CheckPle(); !s.ok()) return s;
  if (auto s = impl->MapTensors(); !s.ok()) return s;
  return std::unique_ptr<PackedModel>(new PackedModel(std::move(impl)));
}

const std::string& PackedModel::folder() const { return impl_->folder; }
const std::string& PackedModel::name() const { return impl_->manifest.name; }
const ModelConfig& PackedModel::config() const { return impl_->config; }
DType PackedModel::dtype() const { return impl_->manifest.dtype; }
const ParameterCounts& PackedModel::parameters() const {
  return impl_->manifest.parameters;
}
std::string PackedModel::ple_folder() const { return impl_->Path(kPleFolder); }
const PleTableShape& PackedModel::ple_shape() const {
  return impl_->manifest.ple;
}
size_t PackedModel::weight_bytes() const { return impl_->weight_bytes; }
size_t PackedModel::vision_bytes() const { return impl_->vision_bytes; }
size_t PackedModel::audio_bytes() const { return impl_->audio_bytes; }

DType PackedModel::Impl::CommonDType(const char* tower_file) const {
  std::map<DType, uint64_t> bytes;
  for (const ManifestTensor& tensor : manifest.tensors) {
    if (tensor.file == tower_file) bytes[tensor.dtype] += tensor.bytes;
  }
  DType most = DType::kF32;
  for (const auto& [dtype, count] : bytes) {
    if (count > bytes[most]) most = dtype;
  }
  return most;
}

DType PackedModel::vision_dtype() const {
  return impl_->CommonDType(kVisionFile);
}
DType PackedModel::audio_dtype() const {
  return impl_->CommonDType(kAudioFile);
}

std::string PackedModel::Impl::Fingerprint(const char* tower_file) const {
  std::map<std::string, std::string> checksums;
  for (const ManifestFile& file : manifest.files) {
    for (const char* name : {tower_file, kConfigFile, kProcessorConfigFile,
                             kPreprocessorConfigFile}) {
      if (file.path == name) checksums[file.path] = file.checksum;
    }
  }
  std::string all;
  for (const auto& [path, checksum] : checksums) {
    absl::StrAppend(&all, path, " ", checksum, "\n");
  }
  return Checksum(all);
}

std::string PackedModel::vision_fingerprint() const {
  return has_vision_tower() ? impl_->Fingerprint(kVisionFile) : "";
}
std::string PackedModel::audio_fingerprint() const {
  return has_audio_tower() ? impl_->Fingerprint(kAudioFile) : "";
}

std::vector<TensorGroup> PackedModel::groups() const {
  return GroupTensors(impl_->manifest);
}

kernels::text::TensorLookup PackedModel::Lookup() const {
  const Impl* impl = impl_.get();
  return [impl](absl::string_view name) {
    return FindTensor(impl->tensors, impl->folder, name);
  };
}

absl::StatusOr<std::shared_ptr<const kernels::vision::VisionWeights>>
PackedModel::LoadVision() const {
  if (!has_vision_tower()) {
    return absl::FailedPreconditionError(absl::StrCat(
        folder(),
        " has no vision tower: its checkpoint is text only; pack one that has "
        "the tower's tensors"));
  }
  const absl::StatusOr<kernels::vision::VisionConfig>& config =
      impl_->config.vision;
  if (!config.ok()) return config.status();
  return impl_->LoadTower<kernels::vision::VisionWeights>(
      kVisionFile, VisionTensorSpecs(*config),
      [&](const auto& lookup) { return BindVisionWeights(*config, lookup); });
}

absl::StatusOr<std::shared_ptr<const kernels::audio::AudioWeights>>
PackedModel::LoadAudio() const {
  if (!has_audio_tower()) {
    return absl::FailedPreconditionError(absl::StrCat(
        folder(),
        " has no audio tower: its checkpoint has none; pack one that has the "
        "tower's tensors"));
  }
  const absl::StatusOr<kernels::audio::AudioConfig>& config =
      impl_->config.audio;
  if (!config.ok()) return config.status();
  return impl_->LoadTower<kernels::audio::AudioWeights>(
      kAudioFile, AudioTensorSpecs(*config),
      [&](const auto& lookup) { return BindAudioWeights(*config, lookup); });
}

}  // namespace lapidary
