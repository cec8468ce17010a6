// What the actor of a conversation is sent, beside what the client sends.
#ifndef LAPIDARY_ACTORS_CONVERSE_MESSAGES_H_
#define LAPIDARY_ACTORS_CONVERSE_MESSAGES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "actors/converse_stream.h"
#include "actors/messages.h"

namespace lapidary {

// From the call that answers a turn: a GenerateResponse, and its end.
struct TurnMessage {
  uint64_t turn = 0;
  std::string response;  // serialized
};
struct TurnEnded {
  uint64_t turn = 0;
  absl::Status status;
  int64_t retry_after_ns = 0;  // as in Accepted
};

// Looks whether the client has been silent for too long.
struct SilenceCheck {};

// What is under way may end; then the conversation does.
struct NodeShutsDown {};

using ConverseActor =
    CallActor::extend_with<ReaderActor>::extend_with<ClientActor>::extend<
        caf::reacts_to<Start>, caf::reacts_to<TurnMessage>,
        caf::reacts_to<TurnEnded>, caf::reacts_to<SilenceCheck>,
        caf::reacts_to<NodeShutsDown>>;

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::TurnMessage)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::TurnEnded)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::SilenceCheck)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::NodeShutsDown)

#endif  // LAPIDARY_ACTORS_CONVERSE_MESSAGES_H_
