// manifest.json of a packed model: what it was made of, which files it has,
// and where each tensor lies in them. Written last; carries a checksum of
// itself.
//
//   {"format": "lapidary-packed-model", "format_version": 3,
//    "tool": "lapidary pack", "name": "gemma-3n-E2B-it", "source": "/models/…",
//    "dtype": "bf16", "chat_template": "gemma3n",
//    "parameters": {"text": …, "ple": …, "vision": …, "audio": …},
//    "ple": {"tokens": …, "layers": …, "width": …, "dtype": "bf16"},
//    "files": [{"path": "weights/global.bin", "bytes": …, "xxh3": "…"}, …],
//    "tensors": [{"name": "norm.weight", "file": "weights/global.bin",
//                 "offset": …, "bytes": …, "shape": […], "dtype": "f32",
//                 "use": "plain", "row_blocks": 1, "rms_error": 0}, …],
//    "checksum": "…"}
//
// "files" has every file but the manifest and the PLE table, which has
// checksums of its own. "checksum" is the XXH3-128 of the object without it,
// written compactly with sorted keys, in every version of the format.
#ifndef LAPIDARY_STORAGE_MANIFEST_H_
#define LAPIDARY_STORAGE_MANIFEST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/text/weights.h"
#include "storage/parameter_counts.h"
#include "storage/ple_store.h"

namespace lapidary {

// 2: a dtype for each matrix, int8 and int4 among them.
// 3: up and down of sparse layers by neuron.
// 4: a scale for each row of int8 and int4, int4's blocks as multiples of it.
inline constexpr int64_t kManifestVersion = 4;

// Of every tensor's offset in its file.
inline constexpr uint64_t kTensorAlignment = 4096;

// How a packed model got its chat template.
inline constexpr char kTemplateChecked[] = "gemma3n";
inline constexpr char kTemplateAssumed[] = "gemma3n (assumed)";
inline constexpr char kTemplateAbsent[] = "none";

struct ManifestFile {
  std::string path;  // within the folder
  uint64_t bytes = 0;
  std::string checksum;  // XXH3-128
};

struct ManifestTensor {
  std::string name;
  std::string file;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  std::vector<int64_t> shape;
  kernels::DType dtype = kernels::DType::kF32;
  kernels::text::TensorUse use = kernels::text::TensorUse::kPlain;
  int64_t row_blocks = 1;
  // Root mean square of what quantising changed, relative to the weights'.
  double rms_error = 0;
};

struct Manifest {
  std::string name;
  std::string source;
  // What it was packed as: storage/tensor_groups.h says what that means for
  // each tensor.
  kernels::DType dtype = kernels::DType::kBf16;
  std::string chat_template = kTemplateAbsent;
  ParameterCounts parameters;
  PleTableShape ple;
  std::vector<ManifestFile> files;
  std::vector<ManifestTensor> tensors;
};

// DATA_LOSS about a file of a packed model, which only packing can make good.
absl::Status DamagedModel(const std::string& path, absl::string_view what);

std::string WriteManifest(const Manifest& manifest);

// Checks types and the checksum; whether the content fits config.json and the
// files is PackedModel's to say. `path` begins the messages.
//
// Errors: DATA_LOSS for anything but what WriteManifest wrote; UNIMPLEMENTED
// for another version of the format.
absl::StatusOr<Manifest> ParseManifest(absl::string_view text,
                                       const std::string& path);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_MANIFEST_H_
