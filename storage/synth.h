// Writes a Hugging Face Gemma 3n folder of any shape with random weights, for
// tests and for benchmarks at real size.
#ifndef LAPIDARY_STORAGE_SYNTH_H_
#define LAPIDARY_STORAGE_SYNTH_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/tensor.h"

namespace lapidary {

struct SynthOptions {
  // config.json of the model, as text; SynthShape has the published ones.
  std::string config_json;
  uint32_t seed = 0;
  kernels::DType dtype = kernels::DType::kBf16;  // of the checkpoint
  std::string target;  // folder, made; must be empty or absent
  // Folder whose tokenizer and chat template files are copied; "" for none.
  std::string tokenizer_source;
  uint64_t shard_bytes = uint64_t{4} << 30;  // larger models are sharded
  std::function<void(absl::string_view step, uint64_t bytes_done,
                     uint64_t bytes_total)>
      progress;
};

// Whether SynthShape knows the name.
bool IsSynthShape(absl::string_view name);

// config.json text of "e2b" or "e4b" (text only), either followed by "+vision"
// (the 300M vision tower too), "+audio" (the 680M audio tower too) or
// "+vision+audio".
absl::StatusOr<std::string> SynthShape(absl::string_view name);

// Streams: memory does not grow with the model.
absl::Status Synthesize(const SynthOptions& options);

// Element `index` (row-major) of the tensor called `name` (without prefix):
// the counter hash that makes a weight depend on its name, index and seed
// alone. tests/reference/synth_weights.py is its twin.
//   value = (hash / 2^32 - 0.5) · 2 · amplitude + offset
float SynthValue(uint32_t tensor_number, uint32_t index, double amplitude,
                 double offset);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_SYNTH_H_
