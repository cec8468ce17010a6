// The stream of a conversation.
#ifndef LAPIDARY_ACTORS_CONVERSE_STREAM_H_
#define LAPIDARY_ACTORS_CONVERSE_STREAM_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "actors/reading_stream.h"
#include "actors/requests.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary {

// What the client sent, or why it cannot be read.
struct ClientMessage {
  std::shared_ptr<const absl::StatusOr<v1::ConverseRequest>> request;

  static ClientMessage Read(const std::string& bytes) {
    return {std::make_shared<const absl::StatusOr<v1::ConverseRequest>>(
        ParseConverse(bytes))};
  }
};

using ConverseStream = ReadingStream<ClientMessage>;

// What gRPC's threads send to.
using ReaderActor = ConverseStream::Reader;

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ClientMessage)

#endif  // LAPIDARY_ACTORS_CONVERSE_STREAM_H_
