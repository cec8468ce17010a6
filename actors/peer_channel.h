// A connection to another node, over which its actors are asked (peer.proto).
//
//   PeerChannel peer("10.0.0.2:7421", 4 << 20);
//   auto ask = peer.Ask(EncodeImage{…}, absl::Minutes(5), [](auto answer) { …
//   }); … ask->Cancel();   // nobody waits for it any more
//
//   auto talk = peer.Hear([](auto answer) { … });    // a live sound
//   talk->Ask(OpenSound{…}); … talk->Ask(PushSound{…}); …
//
// A peer that is gone is noticed at once where its machine says so, else within
// ten seconds; the connection is made again by itself.
#ifndef LAPIDARY_ACTORS_PEER_CHANNEL_H_
#define LAPIDARY_ACTORS_PEER_CHANNEL_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "actors/messages_proto.h"

namespace lapidary {

// A question that is on its way.
class PeerAsk {
 public:
  virtual ~PeerAsk() = default;
  // Its answer, if it has none yet, is CANCELLED.
  virtual void Cancel() = 0;
};

// Questions that belong together, each asked when the one before it has been
// answered.
class PeerTalk : public PeerAsk {
 public:
  virtual void Ask(const WireMessage& message) = 0;
  // A sign of life, which is not answered.
  virtual void Beat() = 0;
};

class PeerChannel {
 public:
  // `address` is HOST:PORT; answers of more than `max_answer_bytes` are refused
  // before they are read.
  PeerChannel(const std::string& address, size_t max_answer_bytes);
  // Cancels what is on its way, and waits until all of it is answered.
  ~PeerChannel();
  PeerChannel(const PeerChannel&) = delete;
  PeerChannel& operator=(const PeerChannel&) = delete;

  using Done = std::function<void(absl::StatusOr<WireMessage> answer)>;
  // Calls `done` once, from a thread of gRPC's. Errors: those of the peer
  // (peer.proto), of FromWire, and UNAVAILABLE where it is not reached or is
  // lost meanwhile.
  std::shared_ptr<PeerAsk> Ask(const WireMessage& message,
                               absl::Duration timeout, Done done);

  // Calls `heard` for each answer, from a thread of gRPC's, and a last time
  // with why there will be no other: errors as Ask's, and INTERNAL for a peer
  // that speaks unasked.
  std::shared_ptr<PeerTalk> Hear(Done heard);

 private:
  struct Impl;
  class OneTalk;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_PEER_CHANNEL_H_
