// The door for other nodes (peer.proto): what this node's actors do for them.
#ifndef LAPIDARY_ACTORS_PEER_SERVICE_H_
#define LAPIDARY_ACTORS_PEER_SERVICE_H_

#include <atomic>
#include <memory>
#include <string>

#include "actors/messages.h"
#include "actors/messages_audio.h"
#include "actors/status_board.h"
#include "grpcpp/grpcpp.h"
#include "proto/lapidary/internal/peer.grpc.pb.h"

namespace lapidary {

struct PeerServiceConfig {
  DirectoryActor directory;
  // Why images, and sounds, of other nodes are not encoded here; empty: they
  // are.
  std::string no_vision, no_audio;
  // Answer StatusQuery, in place of actors that may be busy for long.
  std::shared_ptr<const VisionBoard> vision;
  std::shared_ptr<const AudioBoard> audio;
  // Questions that may be open at once; more are UNAVAILABLE.
  int max_open = 64;
  // Live sounds; more are RESOURCE_EXHAUSTED.
  int max_live = 64;
};

class PeerService final
    : public internal::Peer::WithRawCallbackMethod_Ask<
          internal::Peer::WithRawCallbackMethod_Hear<internal::Peer::Service>> {
 public:
  PeerService(caf::actor_system& system, PeerServiceConfig config)
      : system_(system), config_(std::move(config)) {}

  grpc::ServerUnaryReactor* Ask(grpc::CallbackServerContext* context,
                                const grpc::ByteBuffer* request,
                                grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Hear(
      grpc::CallbackServerContext* context) override;

 private:
  caf::actor_system& system_;
  const PeerServiceConfig config_;
  const std::shared_ptr<std::atomic<int>> open_ =
      std::make_shared<std::atomic<int>>(0);
  const std::shared_ptr<std::atomic<int>> live_ =
      std::make_shared<std::atomic<int>>(0);
  // Numbers that no call of the node's own clients has.
  std::atomic<SoundId> next_sound_{SoundId{1} << 63};
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_PEER_SERVICE_H_
