// Other nodes that encode what this one has no tower for: which of them are
// there, which is asked next, and the files that are with them.
//
//   file ─► the peer with the least to do ─► EncodedMedium
//        lost, full or without the tower ─► the next peer, once each
//
// What a peer answers is checked before anybody uses it. A part of the actors
// that play a tower's (remote_vision.h, remote_audio.h), which pass on to it
// the messages below.
#ifndef LAPIDARY_ACTORS_MEDIA_PEERS_H_
#define LAPIDARY_ACTORS_MEDIA_PEERS_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "actors/media_jobs.h"
#include "actors/messages.h"
#include "actors/peer_channel.h"

namespace lapidary {

struct MediaPeersConfig {
  std::vector<std::string> peers;  // HOST:PORT
  std::string role;                // "vision", "audio": of the peers' actors
  std::string what;                // "image", "sound"
  std::string tower;               // VisionStatus::tower, AudioStatus::tower
  int64_t width = 0;               // of a soft token
  int64_t max_rows = 0;            // of an answer
  size_t cache_bytes = size_t{64} << 20;
  MediaBounds bounds;
  // A peer that has not answered for so long is given up.
  absl::Duration timeout = absl::Minutes(5);
  // Peers are asked so often whether they are there.
  std::chrono::milliseconds probe_pause{2000};
};

// A peer's answer; from gRPC's threads.
struct PeerAnswered {
  uint64_t job = 0;
  size_t peer = 0;  // index
  std::shared_ptr<const absl::StatusOr<WireMessage>> answer;
};

struct PeerProbed {
  size_t peer = 0;
  std::shared_ptr<const absl::StatusOr<WireMessage>> answer;
};

// Asks all peers whether they are there.
struct ProbePeers {};
// Gives up what nobody waits for any more.
struct DropUnwanted {};

// Which peers were asked for one thing.
struct PeerAttempts {
  std::set<size_t> tried;
  std::vector<absl::Status> failures;  // with the peers' addresses
};

struct RemoteJob : MediaJob {
  std::chrono::steady_clock::time_point began =
      std::chrono::steady_clock::now();
  int64_t rows = 0;     // that its answer has
  int64_t samples = 0;  // of a sound
  PeerAttempts attempts;
  std::shared_ptr<PeerAsk> ask;  // null: not asked yet
};

// A peer says no more than this of what went wrong.
inline constexpr size_t kPeerWords = 500;

// OK for f32 [rows][width] of embeddings, INTERNAL otherwise.
absl::Status CheckPeerRows(const kernels::Tensor& tensor, int64_t rows,
                           int64_t width);

class MediaPeers {
 public:
  // Before anything else.
  //   self      the actor whose part it is
  //   question  what a peer is asked about a file
  //   encoded   called when a peer has encoded one
  void Open(const caf::actor_addr& self, MediaPeersConfig config,
            std::function<WireMessage(const RemoteJob&)> question,
            std::function<void(const RemoteJob&)> encoded);

  const MediaPeersConfig& config() const { return config_; }
  MediaJobs<RemoteJob>& jobs() { return jobs_; }
  const MediaJobs<RemoteJob>& jobs() const { return jobs_; }

  // Asks the next peer for a job, or answers that there is none.
  void Send(RemoteJob* job);
  void TakeAnswer(const PeerAnswered& answered);
  // Once, at the start: goes on by itself.
  void Probe();
  void TakeProbe(const PeerProbed& probed);
  // Has the jobs looked at that nobody may wait for any more, as long as there
  // are any.
  void ArmDrop();
  void Drop();

  // --- For what is no file
  // Of the peers that were not tried, the best, which counts as tried and busy
  // from now on; size() for none.
  size_t Choose(PeerAttempts* attempts);
  void Release(size_t peer) { --peers_[peer].on_their_way; }
  size_t size() const { return peers_.size(); }
  PeerChannel& channel(size_t peer) { return *peers_[peer].channel; }
  void CountEncoded(size_t peer);
  // Notes why a peer did not do it; the status with the peer's address.
  absl::Status Failed(size_t peer, const absl::Status& status);
  // What is said where all failed: RESOURCE_EXHAUSTED if one of them only has
  // too much to do, else UNAVAILABLE.
  absl::Status AllFailed(const PeerAttempts& attempts) const;

  std::vector<MediaPeer> Statuses() const;

 private:
  struct Peer {
    MediaPeer status;
    int on_their_way = 0;
    std::unique_ptr<PeerChannel> channel;
  };

  template <typename Message>
  void SendLater(std::chrono::milliseconds pause, Message message) const;
  absl::StatusOr<EncodedMedium> Check(const absl::StatusOr<WireMessage>& answer,
                                      const RemoteJob& job) const;

  caf::actor_addr self_;
  MediaPeersConfig config_;
  std::function<WireMessage(const RemoteJob&)> question_;
  std::function<void(const RemoteJob&)> encoded_;
  MediaJobs<RemoteJob> jobs_;
  std::vector<Peer> peers_;
  bool drop_armed_ = false;
};

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::PeerAnswered)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::PeerProbed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ProbePeers)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::DropUnwanted)

#endif  // LAPIDARY_ACTORS_MEDIA_PEERS_H_
