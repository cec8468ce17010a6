#include "storage/pack.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/audio/weights.h"
#include "kernels/bf16.h"
#include "kernels/gemm/weight_layout.h"
#include "kernels/text/weights.h"
#include "kernels/vision/weights.h"
#include "storage/audio_packer.h"
#include "storage/chat_template.h"
#include "storage/checkpoint.h"
#include "storage/checkpoint_check.h"
#include "storage/file_io.h"
#include "storage/manifest.h"
#include "storage/model_config.h"
#include "storage/model_files.h"
#include "storage/neuron_packer.h"
#include "storage/pack_target.h"
#include "storage/permuted_packer.h"
#include "storage/ple_store.h"
#include "storage/tensor_groups.h"
#include "storage/tokenizer.h"
#include "storage/tokenizer_check.h"
#include "storage/vision_packer.h"

namespace lapidary {
namespace {

using kernels::AlignedBuffer;
using kernels::DType;
using kernels::QuantError;
using kernels::TapOrder;
using kernels::text::TensorSpec;
using kernels::text::TensorUse;

// Of PLE rows handed on at once.
constexpr size_t kPleBatchBytes = size_t{4} << 20;
// What the manifest, RocksDB's own files and rounding to blocks may take.
constexpr uint64_t kSlackBytes = uint64_t{2} << 20;

std::string FileOf(const TensorSpec& spec) {
  if (kernels::vision::IsVisionTensor(spec.name)) return kVisionFile;
  if (kernels::audio::IsAudioTensor(spec.name)) return kAudioFile;
  return spec.layer < 0
             ? absl::StrCat(kWeightsFolder, "/global.bin")
             : absl::StrFormat("%s/layer_%03d.bin", kWeightsFolder, spec.layer);
}

absl::Status OutOfRange(const TensorSpec& spec, DType dtype) {
  const char* flag =
      kernels::audio::IsAudioTensor(spec.name) ? "audio-dtype" : "dtype";
  return absl::InvalidArgumentError(
      absl::StrCat(spec.name, ": a weight is not a number or beyond ±",
                   kernels::kMaxQuantWeight, ", which ", NameOf(dtype),
                   " cannot hold; is the checkpoint damaged? --", flag,
                   "=bf16 takes it as it is"));
}

// The PLE table is written by a thread of its own, beside the weights.
class PleTask {
 public:
  PleTask(const CheckpointTensor& table, const PleTableShape& shape,
          std::string folder)
      : table_(table), shape_(shape), folder_(std::move(folder)) {
    thread_ = std::thread([this] {
      absl::Status status = Write();
      const std::lock_guard<std::mutex> lock(mutex_);
      status_ = std::move(status);
      finished_ = true;
      changed_.notify_all();
    });
  }
  ~PleTask() {
    stop_ = true;
    thread_.join();
  }

  uint64_t bytes_done() const { return bytes_done_; }

  // True when the table is written or cannot be.
  bool Finished() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return finished_;
  }
  // Waits a moment for that.
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(100),
                      [this] { return finished_; });
  }
  absl::Status status() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return status_;
  }

 private:
  absl::Status Write() {
    RowReader reader(table_);
    auto writer = PleStoreWriter::Create(folder_, shape_, reader.dtype());
    if (!writer.ok()) return writer.status();
    const int64_t batch =
        std::max<int64_t>(1, kPleBatchBytes / shape_.StoredRowBytes());
    for (int64_t first = 0; first < shape_.tokens; first += batch) {
      if (stop_) return absl::CancelledError("packing was stopped");
      const int64_t count = std::min(batch, shape_.tokens - first);
      if (auto s = (*writer)->Append(reader.Read(first, count), count);
          !s.ok()) {
        return s;
      }
      bytes_done_ += count * shape_.StoredRowBytes();
    }
    return (*writer)->Finish();
  }

  const CheckpointTensor& table_;
  const PleTableShape shape_;
  const std::string folder_;
  std::atomic<uint64_t> bytes_done_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool finished_ = false;
  absl::Status status_;
  std::thread thread_;
};

// One run of Pack; holds what its steps share.
class Packer {
 public:
  explicit Packer(const PackOptions& options) : options_(options) {}

  absl::Status Run();

 private:
  // Everything that can be known to be wrong before a byte is written.
  absl::Status ReadSource();
  absl::Status CheckTokenizer();
  absl::Status CheckSpace();

  absl::Status WriteModel();
  absl::Status WriteWeights(PleTask* ple);
  absl::Status WriteTensor(const TensorSpec& spec, FileWriter* file,
                           PleTask* ple);
  absl::Status WriteGemm(const TensorSpec& spec, const CheckpointTensor& tensor,
                         FileWriter* file, PleTask* ple, QuantError* error);
  absl::Status WriteByNeuron(const TensorSpec& spec,
                             const CheckpointTensor& tensor, FileWriter* file,
                             PleTask* ple, QuantError* error);
  absl::Status WritePermuted(const TensorSpec& spec, const TapOrder& order,
                             const CheckpointTensor& tensor, FileWriter* file);
  // Adds a tower's tensors to those that are packed.
  template <typename TowerTensorSpec>
  void AddTower(std::vector<TowerTensorSpec> tower);
  absl::Status WritePlain(const CheckpointTensor& tensor, FileWriter* file);
  absl::Status FinishFile(FileWriter* file, const std::string& name);
  absl::Status CopyFiles();
  std::string StepName(const TensorSpec& spec) const;
  void Report(absl::string_view step, PleTask* ple);
  // Says how much packing needs, if the disk is or was full: RocksDB reports
  // that in a way of its own.
  absl::Status ExplainFullDisk(absl::Status status) const;

  const PackOptions& options_;
  ModelConfig config_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<TensorSpec> specs_;
  // Convolutions that are packed in another order, by name.
  std::map<std::string, TapOrder> permuted_;
  Manifest manifest_;
  std::unique_ptr<PackTarget> target_;
  uint64_t bytes_total_ = 0;  // weights and PLE table
  uint64_t weights_done_ = 0;
  uint64_t bytes_needed_ = 0;  // on the target's disk
};

template <typename TowerTensorSpec>
void Packer::AddTower(std::vector<TowerTensorSpec> tower) {
  for (TowerTensorSpec& spec : tower) {
    if (spec.permuted()) permuted_.emplace(spec.packed.name, spec.order());
    specs_.push_back(std::move(spec.packed));
  }
}

absl::Status Packer::ReadSource() {
  const auto is_weight_dtype = [](const auto& other) {
    return kernels::IsWeightDType(other.second);
  };
  const PackDTypes& dtypes = options_.dtypes;
  if (!kernels::IsWeightDType(dtypes.matrices) ||
      !std::all_of(dtypes.others.begin(), dtypes.others.end(),
                   is_weight_dtype)) {
    return absl::InvalidArgumentError(
        "a model is packed as int4, int8, bf16 or f32");
  }
  const auto tower = dtypes.others.find(MatrixGroup::kAudio);
  if (tower != dtypes.others.end() && tower->second == DType::kInt4) {
    return absl::InvalidArgumentError(
        "an audio tower is packed as int8, bf16 or f32");
  }
  if (dtypes.ple.has_value() && *dtypes.ple != DType::kF32 &&
      *dtypes.ple != DType::kBf16 && *dtypes.ple != DType::kInt8) {
    return absl::InvalidArgumentError(
        "a PLE table is packed as int8, bf16 or f32");
  }
  absl::StatusOr<ModelConfig> config = ReadModelConfig(options_.source);
  if (!config.ok()) return config.status();
  config_ = *std::move(config);
  absl::StatusOr<std::unique_ptr<Checkpoint>> checkpoint =
      Checkpoint::Open(options_.source);
  if (!checkpoint.ok()) return checkpoint.status();
  checkpoint_ = *std::move(checkpoint);
  if (auto s = CheckTensors(config_.text, *checkpoint_); !s.ok()) return s;
  specs_ = TextTensorSpecs(config_.text);
  auto vision = CheckVisionTensors(config_, *checkpoint_);
  if (!vision.ok()) return vision.status();
  AddTower(*std::move(vision));
  auto audio = CheckAudioTensors(config_, *checkpoint_);
  if (!audio.ok()) return audio.status();
  AddTower(*std::move(audio));

  std::error_code error;
  std::filesystem::path source =
      std::filesystem::canonical(options_.source, error);
  if (error) source = options_.source;
  manifest_.source = source.string();
  manifest_.name = source.filename().string();
  manifest_.dtype = options_.dtypes.matrices;
  manifest_.parameters = checkpoint_->CountParameters();
  manifest_.ple.tokens = config_.text.vocab_size_per_layer_input;
  manifest_.ple.layers = config_.text.num_hidden_layers;
  manifest_.ple.width = config_.text.hidden_size_per_layer_input;
  manifest_.ple.dtype = PackedPleDType(
      RowReader(*checkpoint_->Find("embed_tokens_per_layer.weight")).dtype(),
      dtypes);
  return CheckTokenizer();
}

// A folder without a tokenizer serves token ids only and needs no template.
absl::Status Packer::CheckTokenizer() {
  const std::string json =
      absl::StrCat(options_.source, "/", kTokenizerJsonFile);
  const std::string model =
      absl::StrCat(options_.source, "/", kTokenizerModelFile);
  manifest_.chat_template = kTemplateAbsent;
  if (!FileExists(model) && !FileExists(json)) return absl::OkStatus();
  if (!FileExists(model)) {
    return absl::InvalidArgumentError(absl::StrCat(
        json,
        " is there without tokenizer.model, which Lapidary reads; copy "
        "it from the published model"));
  }
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::Load(options_.source);
  if (!tokenizer.ok()) return tokenizer.status();
  if ((*tokenizer)->id_limit() > config_.text.vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat(
        model, " has ids up to ", (*tokenizer)->id_limit() - 1,
        ", but config.json says vocab_size = ", config_.text.vocab_size,
        "; do the tokenizer and the model belong together?"));
  }
  if (FileExists(json)) {
    if (auto s = CheckTokenizerJson(**tokenizer, json); !s.ok()) return s;
  }
  if (options_.assume_gemma3n_template) {
    manifest_.chat_template = kTemplateAssumed;
    return absl::OkStatus();
  }
  manifest_.chat_template = kTemplateChecked;
  return CheckChatTemplate(options_.source);
}

absl::Status Packer::CheckSpace() {
  for (const TensorSpec& spec : specs_) {
    const std::optional<size_t> bytes =
        PackedBytes(spec, PackedDType(spec, options_.dtypes));
    if (!bytes.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(spec.name, " is larger than any machine's memory"));
    }
    bytes_total_ += *bytes;
  }
  const uint64_t ple_bytes =
      manifest_.ple.tokens * uint64_t{manifest_.ple.StoredRowBytes()};
  bytes_total_ += ple_bytes;
  bytes_needed_ = bytes_total_ + ple_bytes / 32 + kSlackBytes +
                  specs_.size() * kTensorAlignment;
  for (const char* name : kCopiedFiles) {
    const absl::StatusOr<uint64_t> bytes =
        FileBytes(absl::StrCat(options_.source, "/", name));
    if (bytes.ok()) bytes_needed_ += *bytes;
  }
  return CheckFreeSpace(target_->folder(), bytes_needed_, "the packed model");
}

// Of Report, while a tensor is packed.
std::string Packer::StepName(const TensorSpec& spec) const {
  if (kernels::vision::IsVisionTensor(spec.name)) return "vision tower";
  if (kernels::audio::IsAudioTensor(spec.name)) return "audio tower";
  if (spec.layer < 0) return spec.name;
  return absl::StrCat("layer ", spec.layer + 1, " of ",
                      config_.text.num_hidden_layers);
}

void Packer::Report(absl::string_view step, PleTask* ple) {
  if (options_.progress) {
    options_.progress(step, weights_done_ + ple->bytes_done(), bytes_total_);
  }
}

absl::Status Packer::WriteGemm(const TensorSpec& spec,
                               const CheckpointTensor& tensor, FileWriter* file,
                               PleTask* ple, QuantError* error) {
  const DType dtype = PackedDType(spec, options_.dtypes);
  const int64_t k = spec.shape[1];
  const int64_t block_rows = spec.shape[0] / spec.row_blocks;
  const int64_t panel_rows = kernels::WeightPanelRows(dtype);
  const size_t panel_bytes = kernels::WeightPanelBytes(dtype, k).value_or(0);
  const std::shared_ptr<AlignedBuffer> panel = AlignedBuffer::Make(panel_bytes);
  if (panel == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", panel_bytes, " bytes of ", spec.name));
  }
  const std::string step = StepName(spec);
  RowReader reader(tensor);
  for (int64_t block = 0; block < spec.row_blocks; ++block) {
    for (int64_t row = 0; row < block_rows; row += panel_rows) {
      const int64_t count = std::min(panel_rows, block_rows - row);
      error->Add(PackWeightPanel(reader.dtype(),
                                 reader.Read(block * block_rows + row, count),
                                 count, k, dtype, panel->data()));
      if (error->out_of_range) return OutOfRange(spec, dtype);
      if (auto s = file->Append(panel->data(), panel_bytes); !s.ok()) return s;
      weights_done_ += panel_bytes;
      Report(step, ple);
    }
  }
  return absl::OkStatus();
}

absl::Status Packer::WriteByNeuron(const TensorSpec& spec,
                                   const CheckpointTensor& tensor,
                                   FileWriter* file, PleTask* ple,
                                   QuantError* error) {
  const DType dtype = PackedDType(spec, options_.dtypes);
  const auto packed = PackByNeuron(spec, tensor, dtype, error);
  if (!packed.ok()) return packed.status();
  if (error->out_of_range) return OutOfRange(spec, dtype);
  weights_done_ += (*packed)->size();
  Report(StepName(spec), ple);
  return file->Append((*packed)->data(), (*packed)->size());
}

absl::Status Packer::WritePermuted(const TensorSpec& spec,
                                   const TapOrder& order,
                                   const CheckpointTensor& tensor,
                                   FileWriter* file) {
  const auto packed =
      PackPermuted(spec, order, tensor, PackedDType(spec, options_.dtypes));
  if (!packed.ok()) return packed.status();
  return file->Append((*packed)->data(), (*packed)->size());
}

absl::Status Packer::WritePlain(const CheckpointTensor& tensor,
                                FileWriter* file) {
  const int64_t elements = tensor.entry.elements();
  RowReader reader(tensor);
  const void* source = reader.Read(0, tensor.rows());
  if (reader.dtype() == DType::kF32) {
    return file->Append(source, elements * sizeof(float));
  }
  const auto* bits = static_cast<const uint16_t*>(source);
  std::vector<float> values(elements);
  std::transform(bits, bits + elements, values.begin(), kernels::Bf16ToFloat);
  return file->Append(values.data(), elements * sizeof(float));
}

absl::Status Packer::WriteTensor(const TensorSpec& spec, FileWriter* file,
                                 PleTask* ple) {
  if (auto s = file->AlignTo(kTensorAlignment); !s.ok()) return s;
  const CheckpointTensor& tensor = *checkpoint_->Find(spec.name);
  ManifestTensor entry;
  entry.name = spec.name;
  entry.file = FileOf(spec);
  entry.offset = file->size();
  entry.shape = spec.shape;
  entry.dtype = PackedDType(spec, options_.dtypes);
  entry.use = spec.use;
  entry.row_blocks = spec.row_blocks;
  QuantError error;
  const auto permuted = permuted_.find(spec.name);
  const absl::Status written =
      permuted != permuted_.end()
          ? WritePermuted(spec, permuted->second, tensor, file)
      : IsByNeuron(spec.use, entry.dtype)
          ? WriteByNeuron(spec, tensor, file, ple, &error)
      : IsMatrix(spec.use) ? WriteGemm(spec, tensor, file, ple, &error)
                           : WritePlain(tensor, file);
  if (!written.ok()) return written;
  entry.rms_error = error.RelativeRms();
  entry.bytes = file->size() - entry.offset;
  if (spec.use == TensorUse::kPlain || permuted != permuted_.end()) {
    weights_done_ += entry.bytes;
  }
  manifest_.tensors.push_back(std::move(entry));
  return absl::OkStatus();
}

absl::Status Packer::FinishFile(FileWriter* file, const std::string& name) {
  if (auto s = file->Finish(); !s.ok()) return s;
  manifest_.files.push_back({name, file->size(), file->checksum()});
  return absl::OkStatus();
}

absl::Status Packer::WriteWeights(PleTask* ple) {
  std::unique_ptr<FileWriter> file;
  std::string name;
  for (const TensorSpec& spec : specs_) {
    if (spec.use == TensorUse::kPleTable) continue;
    // A table that cannot be written ends it all.
    if (ple->Finished() && !ple->status().ok()) return absl::OkStatus();
    if (FileOf(spec) != name) {
      if (file != nullptr) {
        if (auto s = FinishFile(file.get(), name); !s.ok()) return s;
      }
      name = FileOf(spec);
      auto made = FileWriter::Create(target_->Path(name));
      if (!made.ok()) return made.status();
      file = *std::move(made);
    }
    if (auto s = WriteTensor(spec, file.get(), ple); !s.ok()) return s;
  }
  return FinishFile(file.get(), name);
}

absl::Status Packer::CopyFiles() {
  for (const char* name : kCopiedFiles) {
    absl::StatusOr<std::string> content =
        ReadFile(absl::StrCat(options_.source, "/", name), kMaxSideFileBytes);
    if (absl::IsNotFound(content.status())) continue;
    if (!content.ok()) return content.status();
    auto file = FileWriter::Create(target_->Path(name));
    if (!file.ok()) return file.status();
    if (auto s = (*file)->Append(content->data(), content->size()); !s.ok()) {
      return s;
    }
    if (auto s = FinishFile(file->get(), name); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status Packer::WriteModel() {
  if (auto s = MakeFolder(target_->Path(kWeightsFolder)); !s.ok()) return s;
  {
    PleTask ple(*checkpoint_->Find("embed_tokens_per_layer.weight"),
                manifest_.ple, target_->Path(kPleFolder));
    if (auto s = WriteWeights(&ple); !s.ok()) return s;
    while (!ple.Finished()) {
      Report("per-layer embeddings", &ple);
      ple.Wait();
    }
    if (auto s = ple.status(); !s.ok()) return s;
    Report("done", &ple);
  }
  if (auto s = CopyFiles(); !s.ok()) return s;
  return target_->Publish(WriteManifest(manifest_));
}

absl::Status Packer::ExplainFullDisk(absl::Status status) const {
  const uint64_t available = FreeBytes(target_->folder());
  // The PLE table's writer gives room back when it is stopped, so the disk may
  // no longer look as full as it was.
  const bool told = absl::StrContains(status.message(), std::strerror(ENOSPC));
  if (available >= kSlackBytes && !told) return status;
  return absl::ResourceExhaustedError(
      absl::StrCat("the disk is full: the packed model needs ", bytes_needed_,
                   " bytes in ", target_->folder(), ", where ", available,
                   " were left; free some space or choose another disk (",
                   status.message(), ")"));
}

absl::Status Packer::Run() {
  if (auto s = ReadSource(); !s.ok()) return s;
  absl::StatusOr<std::unique_ptr<PackTarget>> target =
      PackTarget::Claim(options_.target);
  if (!target.ok()) return target.status();
  target_ = *std::move(target);
  absl::Status written = CheckSpace();
  if (written.ok()) {
    written = WriteModel();
    if (!written.ok()) written = ExplainFullDisk(written);
  }
  if (!written.ok()) target_->Discard();
  return written;
}

}  // namespace

absl::Status Pack(const PackOptions& options) { return Packer(options).Run(); }

}  // namespace lapidary
