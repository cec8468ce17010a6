// Plays the vision actor on a node that loads no tower: has other nodes encode
// its images, and keeps their soft tokens.
//
//   EncodeImage ─► the peer with the least to do ─► EncodedMedium
//        lost, full or without the tower ─► the next peer, once each
//
// What a peer answers is checked before anybody uses it. Losing this actor
// loses the images on their way.
#ifndef LAPIDARY_ACTORS_REMOTE_VISION_H_
#define LAPIDARY_ACTORS_REMOTE_VISION_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "actors/media_cache.h"
#include "actors/media_jobs.h"
#include "actors/messages.h"
#include "actors/peer_channel.h"

namespace lapidary {

struct RemoteVisionConfig {
  std::vector<std::string> peers;  // HOST:PORT
  std::string tower;               // PackedModel::vision_fingerprint
  // Of an image's soft tokens: [rows][width].
  int64_t rows = 0;
  int64_t width = 0;
  size_t cache_bytes = size_t{64} << 20;
  // Bytes of files on their way; an image more is refused with
  // RESOURCE_EXHAUSTED.
  size_t max_waiting_bytes = size_t{256} << 20;
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

using RemoteVisionActor =
    VisionActor::extend<caf::reacts_to<PeerAnswered>,
                        caf::reacts_to<PeerProbed>, caf::reacts_to<ProbePeers>,
                        caf::reacts_to<DropUnwanted>>;

class RemoteVisionState {
 public:
  explicit RemoteVisionState(RemoteVisionActor::pointer self) : self_(self) {}
  // Tells all who wait that it is lost.
  ~RemoteVisionState();

  void Open(RemoteVisionConfig config);
  caf::result<EncodedMedium> Take(const EncodeImage& encode);
  void TakeAnswer(const PeerAnswered& answered);
  void TakeProbe(const PeerProbed& probed);
  void Probe();
  void Drop();
  VisionStatus Status() const;

 private:
  struct Peer {
    VisionPeer status;
    int on_their_way = 0;
    std::unique_ptr<PeerChannel> channel;
  };
  struct Job : MediaJob {
    std::chrono::steady_clock::time_point began;
    std::set<size_t> tried;
    std::vector<absl::Status> failures;  // of those tried, with their addresses
    std::shared_ptr<PeerAsk> ask;
  };

  // Asks the next peer, or answers that there is none.
  void Send(uint64_t id);
  // Of those that were not tried, the best; peers_.size() for none.
  size_t Choose(const Job& job) const;
  void Finish(uint64_t id, const EncodedMedium& answer);
  absl::StatusOr<EncodedMedium> Check(
      const absl::StatusOr<WireMessage>& answer) const;

  RemoteVisionActor::pointer self_;
  RemoteVisionConfig config_;
  std::unique_ptr<MediaCache> cache_;
  std::vector<Peer> peers_;
  std::map<uint64_t, Job> jobs_;
  uint64_t next_job_ = 1;
  size_t waiting_bytes_ = 0;  // of all jobs' files
  bool drop_armed_ = false;
  VisionStatus counters_;
};

// Start is answered at once: peers may come later.
RemoteVisionActor::behavior_type RemoteVision(
    RemoteVisionActor::stateful_pointer<RemoteVisionState> self,
    RemoteVisionConfig config);

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::PeerAnswered)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::PeerProbed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ProbePeers)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::DropUnwanted)

#endif  // LAPIDARY_ACTORS_REMOTE_VISION_H_
