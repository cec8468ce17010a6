// A peer that means harm: answers what it likes, whatever it is asked.
#ifndef LAPIDARY_TESTS_ACTORS_LIAR_H_
#define LAPIDARY_TESTS_ACTORS_LIAR_H_

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/grpc_bytes.h"
#include "actors/messages_wire.h"
#include "grpcpp/grpcpp.h"
#include "proto/lapidary/internal/peer.grpc.pb.h"

namespace lapidary {

// What a liar says of a live sound.
struct LiveLies {
  std::vector<std::string> answers;  // to its questions, in their order
  int unasked = 0;                   // how many times the last is said again
};

class Liar
    : public internal::Peer::WithRawCallbackMethod_Ask<
          internal::Peer::WithRawCallbackMethod_Hear<internal::Peer::Service>> {
 public:
  // `answer` is said to all questions that are no live sound's.
  explicit Liar(std::string answer, LiveLies live = {})
      : answer_(std::move(answer)), live_(std::move(live)) {
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(-1);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Liar() override { server_->Shutdown(); }

  grpc::ServerUnaryReactor* Ask(grpc::CallbackServerContext* context,
                                const grpc::ByteBuffer*,
                                grpc::ByteBuffer* response) override {
    *response = ToByteBuffer(answer_);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Hear(
      grpc::CallbackServerContext*) override {
    return new Talk(live_);
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  class Talk
      : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
   public:
    explicit Talk(LiveLies lies) : lies_(std::move(lies)) { StartRead(&in_); }

    void OnReadDone(bool ok) override {
      if (!ok) return Finish(grpc::Status::OK);
      if (in_.Length() == 0) return StartRead(&in_);  // a sign of life
      if (said_ == lies_.answers.size()) {
        return Finish({grpc::StatusCode::INTERNAL, "enough of this"});
      }
      out_ = ToByteBuffer(lies_.answers[said_++]);
      StartWrite(&out_);
    }
    void OnWriteDone(bool ok) override {
      if (ok && said_ == lies_.answers.size() && lies_.unasked-- > 0) {
        return StartWrite(&out_);
      }
      StartRead(&in_);
    }
    void OnDone() override { delete this; }

   private:
    LiveLies lies_;
    size_t said_ = 0;
    grpc::ByteBuffer in_, out_;
  };

  const std::string answer_;
  const LiveLies live_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// All zeros but the first value.
inline kernels::Tensor MadeUpTensor(std::vector<int64_t> shape,
                                    kernels::DType dtype, float value) {
  int64_t count = 1;
  for (int64_t dim : shape) count *= dim;
  const size_t bytes = count * kernels::SizeOf(dtype);
  auto buffer = kernels::AlignedBuffer::Make(bytes);
  std::fill(buffer->data(), buffer->data() + bytes, std::byte{0});
  *reinterpret_cast<float*>(buffer->data()) = value;
  return kernels::Tensor(dtype, std::move(shape), buffer);
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_ACTORS_LIAR_H_
