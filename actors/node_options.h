// What a node is told at its start.
#ifndef LAPIDARY_ACTORS_NODE_OPTIONS_H_
#define LAPIDARY_ACTORS_NODE_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "kernels/tensor.h"
#include "storage/media_policy.h"
#include "storage/ple_store.h"

namespace lapidary {

// What a node does with its model's vision tower.
struct VisionOptions {
  enum class Mode {
    kOff,     // images are refused
    kLazy,    // loaded for the first image, unloaded after `idle` without one
    kPinned,  // loaded at the start, and kept
    kRemote,  // never loaded: `peers` encode this node's images
  };
  Mode mode = Mode::kLazy;  // moot for a model without a tower
  absl::Duration idle = absl::Minutes(5);
  // kRemote: HOST:PORT of nodes that serve the same packed model and hold its
  // tower.
  std::vector<std::string> peers;
  // Memory for soft tokens of images that come again.
  size_t cache_bytes = size_t{64} << 20;
};

// The same for its audio tower.
struct AudioOptions {
  enum class Mode { kOff, kLazy, kPinned, kRemote };
  Mode mode = Mode::kLazy;
  std::string flag = "audio";  // that says the mode, for messages
  absl::Duration idle = absl::Minutes(5);
  std::vector<std::string> peers;
  // Memory for soft tokens of sounds that come again.
  size_t cache_bytes = size_t{32} << 20;
};

inline constexpr size_t kSmallestMaxMessage = size_t{4} << 10;

struct NodeOptions {
  // A packed model.
  std::string model_folder;
  // "host:port"; port 0 takes a free one. Empty: no port is opened.
  std::string listen_address;

  // Threads that compute. 0: one per processor.
  int threads = 0;
  // Rows of a step: decoding sequences and prompt chunks together. More rows
  // make prefill faster and each step longer.
  int64_t max_batch_rows = 512;
  // Sequences in the batch at once. At most max_batch_rows.
  int max_running = 64;
  // How many times longer a step that also decodes may take for the prompts in
  // it, ≥ 1. Less keeps running answers at their pace, more makes the first
  // tokens of new ones come sooner.
  double max_slowdown = 2;
  // Requests that wait for a place; more are refused.
  int max_queued = 1024;
  // Most memory of the whole process, weights and all; 0: no limit. None: that
  // of the control group, if it has one. What follows is made smaller to fit;
  // the log and Status say how.
  std::optional<size_t> memory_limit;
  // Memory for keys and values. Address space at first: the kernel backs a
  // page when it is first written.
  size_t kv_memory_bytes = size_t{1} << 30;
  kernels::DType kv_dtype = kernels::DType::kF32;
  // Of kv_memory_bytes, what may go on holding keys and values of requests that
  // have ended, for prompts that begin alike. Running requests come first.
  // 0: nothing is kept. Default: half.
  std::optional<size_t> prefix_cache_bytes;
  // Prompt positions whose logits nobody reads stop at the last layer that
  // owns keys and values.
  bool trim_prefill = true;

  PleStoreOptions ple;
  // Reads all weights once and compares checksums before serving.
  bool verify_weights = false;

  VisionOptions vision;
  AudioOptions audio;
  // URLs and files that the node fetches for its clients; none by default.
  MediaPolicy media;

  // Largest request in bytes, at least kSmallestMaxMessage, and largest text in
  // it. Default: 4 MiB, and 33 MiB where images or sounds are taken.
  std::optional<size_t> max_message_bytes;
  size_t max_text_bytes = size_t{1} << 20;
  // Where a request does not say max_tokens.
  int32_t default_max_tokens = 1024;

  // Gets one line per event ("event=role_lost role=ple_server reason=…"), from
  // any thread. Default: written to stderr.
  std::function<void(absl::string_view line)> log;
};

// INVALID_ARGUMENT for one that is out of its range, by its name.
absl::Status CheckNodeOptions(const NodeOptions& options);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_NODE_OPTIONS_H_
