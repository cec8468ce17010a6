#include "actors/node_options.h"

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/media_source.h"

namespace lapidary {
namespace {

// HOST:PORT, or [HOST]:PORT where the host has colons itself.
bool IsAddress(absl::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == address.npos) return false;
  const absl::string_view digits = address.substr(colon + 1);
  absl::string_view host = address.substr(0, colon);
  const bool bracketed = absl::ConsumePrefix(&host, "[");
  if (bracketed && !absl::ConsumeSuffix(&host, "]")) return false;
  int port = 0;
  return !host.empty() && host.find_first_of(" /[]@\t") == host.npos &&
         (bracketed || host.find(':') == host.npos) && digits.size() <= 5 &&
         std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) &&
         absl::SimpleAtoi(digits, &port) && port >= 1 && port <= 65535;
}

// `role` as in the flags --vision=remote and --vision-peers.
absl::Status CheckPeers(absl::string_view role, bool remote,
                        const std::vector<std::string>& peers) {
  if (remote && peers.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--", role, "=remote needs --", role,
        "-peers=HOST:PORT,…: nodes of the same packed model that hold its ",
        role, " tower"));
  }
  if (!remote && !peers.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--", role, "-peers goes with --", role, "=remote only"));
  }
  for (const std::string& peer : peers) {
    if (IsAddress(peer)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "--", role, "-peers: '", absl::CHexEscape(peer),
        "' is not HOST:PORT with a port from 1 to 65535, like 10.0.0.2:7421 "
        "or [fd00::2]:7421"));
  }
  return absl::OkStatus();
}

}  // namespace

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
  absl::Status peers =
      CheckPeers("vision", options.vision.mode == VisionOptions::Mode::kRemote,
                 options.vision.peers);
  if (!peers.ok()) return peers;
  peers = CheckPeers("audio", options.audio.mode == AudioOptions::Mode::kRemote,
                     options.audio.peers);
  if (!peers.ok()) return peers;
  return CheckMediaPolicy(options.media);
}

}  // namespace lapidary
