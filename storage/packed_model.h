// A packed model: what `lapidary pack` made of a checkpoint, opened for
// serving. Weight files are mapped, not read; the PLE table stays in RocksDB.
//
//   auto model = PackedModel::Open(folder, {});
//   auto weights = BindTextWeights(model->config().text, range,
//                                  model->Lookup());
//   auto tokenizer = Tokenizer::Load(model->folder());
//   auto ple = PleStore::Open(model->ple_folder(), model->ple_shape(), …);
//
// Folder:
//   manifest.json        last written, by rename: without it there is no model
//   weights/*.bin        tensors at 4096-byte aligned offsets; vision.bin and
//                        audio.bin hold the towers that the checkpoint had
//   ple/                 the RocksDB table
//   config.json, generation_config.json, tokenizer.model, tokenizer.json, …
//                        copied from the checkpoint, byte for byte
#ifndef LAPIDARY_STORAGE_PACKED_MODEL_H_
#define LAPIDARY_STORAGE_PACKED_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/audio/weights.h"
#include "kernels/text/weights.h"
#include "kernels/vision/weights.h"
#include "storage/model_config.h"
#include "storage/parameter_counts.h"
#include "storage/ple_store.h"
#include "storage/tensor_groups.h"

namespace lapidary {

struct PackedModelOptions {
  // Reads every weight file once and compares its checksum with the
  // manifest's (E2B bf16: about 5 GB). The manifest itself and all sizes are
  // always checked.
  bool verify_weights = false;
};

class PackedModel {
 public:
  // Errors: NOT_FOUND (no folder), FAILED_PRECONDITION (no manifest: packing
  // was not finished), DATA_LOSS (damaged; names the file), UNIMPLEMENTED
  // (another version of the format); each says what to do.
  static absl::StatusOr<std::unique_ptr<PackedModel>> Open(
      const std::string& folder, const PackedModelOptions& options);
  ~PackedModel();

  const std::string& folder() const;
  // Last part of the source folder's path; clients name the model by it.
  const std::string& name() const;
  const ModelConfig& config() const;
  kernels::DType dtype() const;  // what it was packed as
  const ParameterCounts& parameters() const;
  std::string ple_folder() const;
  const PleTableShape& ple_shape() const;
  // Bytes of the mapped weight files, the decoder's.
  size_t weight_bytes() const;
  // What they hold.
  std::vector<TensorGroup> groups() const;

  // Whether there is a vision tower, and the bytes of its file.
  bool has_vision_tower() const { return vision_bytes() > 0; }
  size_t vision_bytes() const;
  // What most of it is stored as.
  kernels::DType vision_dtype() const;

  // Names the tower and how images are prepared for it: equal in two packed
  // models exactly where the files that decide it are equal. Empty without one.
  std::string vision_fingerprint() const;

  // Maps the vision tower; the mapping goes with the last copy of the pointer.
  //
  // Errors: FAILED_PRECONDITION where the model has none; DATA_LOSS (damaged;
  // names the file); RESOURCE_EXHAUSTED.
  absl::StatusOr<std::shared_ptr<const kernels::vision::VisionWeights>>
  LoadVision() const;

  // The same for the audio tower.
  bool has_audio_tower() const { return audio_bytes() > 0; }
  size_t audio_bytes() const;
  kernels::DType audio_dtype() const;
  absl::StatusOr<std::shared_ptr<const kernels::audio::AudioWeights>>
  LoadAudio() const;
  std::string audio_fingerprint() const;

  // Finds tensors in the mapped files; valid as long as this object.
  kernels::text::TensorLookup Lookup() const;

 private:
  struct Impl;
  explicit PackedModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_PACKED_MODEL_H_
