// Where gRPC's threads and the actor of a call meet whose other side sends
// messages, too: as response_stream.h.
#ifndef LAPIDARY_ACTORS_READING_STREAM_H_
#define LAPIDARY_ACTORS_READING_STREAM_H_

#include <string>
#include <utility>

#include "actors/response_stream.h"
#include "caf/all.hpp"
#include "grpcpp/grpcpp.h"

namespace lapidary {

// The client sends no more.
struct ClientDone {};

// `Message` is what the client's bytes become by Message::Read(bytes), on
// gRPC's threads; they send it to an actor.
template <typename Message>
class ReadingStream
    : public MessageStream<
          grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>> {
 public:
  using Reader =
      caf::typed_actor<caf::reacts_to<Message>, caf::reacts_to<ClientDone>>;

  using MessageStream::MessageStream;

  // As Attach.
  void AttachReader(Reader reader) { reader_ = std::move(reader); }

  // Takes the client's next message, which comes as Message or ClientDone. One
  // at a time: a client whose messages are not taken waits, once the
  // transport's windows are full.
  void Read() {
    UnlessClosed([this] { StartRead(&incoming_); });
  }

  void OnReadDone(bool ok) override {
    if (!ok) return caf::anon_send(reader_, ClientDone{});
    Message message = Message::Read(ToString(incoming_));
    incoming_.Clear();
    caf::anon_send(reader_, std::move(message));
  }

  void OnDone() override {
    reader_ = nullptr;
    MessageStream::OnDone();
  }

 private:
  Reader reader_;
  grpc::ByteBuffer incoming_;
};

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ClientDone)

#endif  // LAPIDARY_ACTORS_READING_STREAM_H_
