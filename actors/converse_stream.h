// Where gRPC's threads and the actor of a conversation meet: as
// response_stream.h, with messages that come in as well.
#ifndef LAPIDARY_ACTORS_CONVERSE_STREAM_H_
#define LAPIDARY_ACTORS_CONVERSE_STREAM_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "actors/messages.h"
#include "actors/requests.h"
#include "actors/response_stream.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary {

// What the client sent, or why it cannot be read.
struct ClientMessage {
  std::shared_ptr<const absl::StatusOr<v1::ConverseRequest>> request;
};

// The client sends no more.
struct ClientDone {};

// What gRPC's threads send to.
using ReaderActor =
    caf::typed_actor<caf::reacts_to<ClientMessage>, caf::reacts_to<ClientDone>>;

class ConverseStream
    : public MessageStream<
          grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>> {
 public:
  using MessageStream::MessageStream;

  // As Attach.
  void AttachReader(ReaderActor reader) { reader_ = std::move(reader); }

  // Takes the client's next message, which comes as ClientMessage or
  // ClientDone. One at a time: a client whose messages are not taken waits,
  // once the transport's windows are full.
  void Read() {
    UnlessClosed([this] { StartRead(&incoming_); });
  }

  void OnReadDone(bool ok) override {
    if (!ok) return caf::anon_send(reader_, ClientDone{});
    ClientMessage message;
    message.request =
        std::make_shared<const absl::StatusOr<v1::ConverseRequest>>(
            ParseConverse(ToString(incoming_)));
    incoming_.Clear();
    caf::anon_send(reader_, std::move(message));
  }

  void OnDone() override {
    reader_ = nullptr;
    MessageStream::OnDone();
  }

 private:
  ReaderActor reader_;
  grpc::ByteBuffer incoming_;
};

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ClientMessage)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ClientDone)

#endif  // LAPIDARY_ACTORS_CONVERSE_STREAM_H_
