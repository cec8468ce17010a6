#include "actors/node_options.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "storage/media_source.h"

namespace lapidary {

absl::Status CheckNodeOptions(const NodeOptions& options) {
  if (options.max_batch_rows < 1 || options.max_batch_rows > 65536) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_batch_rows is ", options.max_batch_rows,
                     ", it must be in [1, 65536]"));
  }
  if (options.max_running < 1 || options.max_running > options.max_batch_rows) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_running is ", options.max_running,
        ", it must be in [1, max_batch_rows = ", options.max_batch_rows, "]"));
  }
  if (!(options.max_slowdown >= 1 && options.max_slowdown <= 1000)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_slowdown is ", options.max_slowdown, ", it must be in [1, 1000]"));
  }
  if (options.max_queued < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_queued is ", options.max_queued, ", it must be at least 1"));
  }
  if (options.threads < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("threads is ", options.threads,
                     ", it must be positive, or 0 for all processors"));
  }
  const size_t message_bytes = options.max_message_bytes.value_or(1);
  if (message_bytes < 1 || message_bytes > std::numeric_limits<int>::max()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_message_bytes is ", message_bytes, ", it must be in [1, ",
        std::numeric_limits<int>::max(), "]"));
  }
  if (options.default_max_tokens < 1) {
    return absl::InvalidArgumentError(absl::StrCat("default_max_tokens is ",
                                                   options.default_max_tokens,
                                                   ", it must be at least 1"));
  }
  const bool remote = options.vision.mode == VisionOptions::Mode::kRemote;
  if (remote == options.vision.peers.empty()) {
    return absl::InvalidArgumentError(
        remote ? "--vision=remote needs --vision-peers=HOST:PORT,…: nodes of "
                 "the same packed model that hold its tower"
               : "--vision-peers goes with --vision=remote only");
  }
  return CheckMediaPolicy(options.media);
}

}  // namespace lapidary
