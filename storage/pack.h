// Packs a Hugging Face Gemma 3n folder into the form that Lapidary serves
// (packed_model.h). Streams: memory does not grow with the model.
#ifndef LAPIDARY_STORAGE_PACK_H_
#define LAPIDARY_STORAGE_PACK_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/tensor_groups.h"

namespace lapidary {

struct PackOptions {
  std::string source;  // Hugging Face folder
  std::string target;  // made if it does not exist
  PackDTypes dtypes;
  // Take the checkpoint's chat template for Gemma's although its text differs.
  bool assume_gemma3n_template = false;
  // Called often, from the calling thread.
  //   step  what is being written, e.g. "layer 3 of 30"
  std::function<void(absl::string_view step, uint64_t bytes_done,
                     uint64_t bytes_total)>
      progress;
};

// Killed at any time, it leaves a folder without a manifest, which Open
// refuses; run again, it starts over. A target that holds a finished model or
// files that are not a packed model's is refused and left alone.
//
// Errors: what is wrong in the checkpoint (INVALID_ARGUMENT, DATA_LOSS; names
// the tensor and file), RESOURCE_EXHAUSTED for a full disk (says how much is
// needed), ALREADY_EXISTS.
absl::Status Pack(const PackOptions& options);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_PACK_H_
