// A Gemma 3n so small that a test can make, pack and change one: every field
// of the architecture is in use, the weights are synth's.
//
//   TempDir dir;
//   auto hf = SynthFolder(dir, TinyConfigJson(), 1, kernels::DType::kBf16);
//   auto packed = PackFolder(dir, *hf, kernels::DType::kF32);
//   auto model = PackedModel::Open(*packed, {});
#ifndef LAPIDARY_TESTS_SUPPORT_TINY_MODEL_H_
#define LAPIDARY_TESTS_SUPPORT_TINY_MODEL_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/tensor.h"
#include "storage/tensor_groups.h"

namespace lapidary {

// A folder of its own, deleted with all in it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string File(absl::string_view name) const;
  // A path in it that nothing has yet.
  std::string Unused(absl::string_view name) const;

 private:
  std::string path_;
  mutable int used_ = 0;
};

// config.json: 6 layers (the last 3 share keys and values; two full), 4 AltUp
// streams, window 8, 2 query heads per key head, 320 ids of which 300 are text,
// two sparse layers.
std::string TinyConfigJson();

// Writes the checkpoint of `config_json` into a new folder in `dir` and
// returns its path.
absl::StatusOr<std::string> SynthFolder(const TempDir& dir,
                                        const std::string& config_json,
                                        uint32_t seed, kernels::DType dtype);

// Packs the checkpoint `hf` into a new folder in `dir` and returns its path.
absl::StatusOr<std::string> PackFolder(const TempDir& dir,
                                       const std::string& hf,
                                       kernels::DType dtype);
absl::StatusOr<std::string> PackFolder(const TempDir& dir,
                                       const std::string& hf,
                                       const PackDTypes& dtypes);

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_TINY_MODEL_H_
