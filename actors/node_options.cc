#include "actors/node_options.h"

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
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

struct HostAndPort {
  absl::string_view host, port;
};

HostAndPort Split(absl::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == address.npos) return {address, ""};
  absl::string_view host = address.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  return {host, address.substr(colon + 1)};
}

// Whether a node that listens at `own` is reached at `peer`, as far as their
// names tell.
bool IsSelf(absl::string_view peer, absl::string_view own) {
  const HostAndPort a = Split(peer), b = Split(own);
  int peer_port = 0, own_port = 0;
  if (!absl::SimpleAtoi(a.port, &peer_port) ||
      !absl::SimpleAtoi(b.port, &own_port) || peer_port != own_port) {
    return false;
  }
  // 127.0.0.1 and 127.0.0.2 are two addresses: two nodes may share a port.
  const auto is_loopback = [](absl::string_view host) {
    return host == "localhost" || host == "::1" ||
           absl::StartsWith(host, "127.");
  };
  const auto is_localhost = [](absl::string_view host) {
    return host == "localhost" || host == "::1" || host == "127.0.0.1";
  };
  const auto is_any = [](absl::string_view host) {
    return host == "0.0.0.0" || host == "::";
  };
  if (a.host == b.host || is_any(a.host)) return true;
  if (is_any(b.host)) return is_loopback(a.host);
  // The name stands for either family's address.
  return (a.host == "localhost" && is_localhost(b.host)) ||
         (b.host == "localhost" && is_localhost(a.host));
}

// `role` as in the flag --vision-peers, `flag` as in --vision=remote.
absl::Status CheckPeers(absl::string_view role, absl::string_view flag,
                        bool remote, const std::vector<std::string>& peers,
                        const std::string& own) {
  if (remote && peers.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--", flag, "=remote needs --", role,
        "-peers=HOST:PORT,…: nodes of the same packed model that hold its ",
        role, " tower"));
  }
  if (!remote && !peers.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--", role, "-peers goes with --", flag, "=remote only"));
  }
  for (const std::string& peer : peers) {
    if (!IsAddress(peer)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--", role, "-peers: '", absl::CHexEscape(peer),
          "' is not HOST:PORT with a port from 1 to 65535, like 10.0.0.2:7421 "
          "or [fd00::2]:7421"));
    }
    if (IsSelf(peer, own)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--", role, "-peers: '", peer,
          "' is where this node itself listens (", own, "), and it holds no ",
          role, " tower; name other nodes, or give --", flag, "=lazy"));
    }
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
  constexpr size_t kMostBytes = std::numeric_limits<int>::max();
  const size_t message_bytes =
      options.max_message_bytes.value_or(kSmallestMaxMessage);
  if (message_bytes < kSmallestMaxMessage || message_bytes > kMostBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_message_bytes (--max-message) is ", message_bytes,
                     ", it must be in [", kSmallestMaxMessage, ", ", kMostBytes,
                     "]: a question of a few lines has to fit"));
  }
  if (options.default_max_tokens < 1) {
    return absl::InvalidArgumentError(absl::StrCat("default_max_tokens is ",
                                                   options.default_max_tokens,
                                                   ", it must be at least 1"));
  }
  absl::Status peers = CheckPeers(
      "vision", "vision", options.vision.mode == VisionOptions::Mode::kRemote,
      options.vision.peers, options.listen_address);
  if (!peers.ok()) return peers;
  peers = CheckPeers("audio", options.audio.flag,
                     options.audio.mode == AudioOptions::Mode::kRemote,
                     options.audio.peers, options.listen_address);
  if (!peers.ok()) return peers;
  return CheckMediaPolicy(options.media);
}

}  // namespace lapidary
