// Where gRPC's threads and our actors meet: one object per call. gRPC's threads
// only send messages to the call's actor; the actor only calls Push and End (or
// Finish).
#ifndef LAPIDARY_ACTORS_RESPONSE_STREAM_H_
#define LAPIDARY_ACTORS_RESPONSE_STREAM_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "actors/grpc_bytes.h"
#include "actors/messages.h"
#include "google/protobuf/message.h"
#include "grpcpp/grpcpp.h"

namespace lapidary {

// Trailing metadata of a refused call: milliseconds after which to try again,
// negative for never. gRPC's own retries obey it (gRFC A6).
inline constexpr char kRetryPushback[] = "grpc-retry-pushback-ms";

// `retry_after_ns` as in Accepted.
inline void AddRetryPushback(grpc::CallbackServerContext* context,
                             int64_t retry_after_ns) {
  if (retry_after_ns == 0) return;
  const int64_t ms =
      retry_after_ns < 0 ? -1 : (retry_after_ns + 999999) / 1000000;
  context->AddTrailingMetadata(kRetryPushback, std::to_string(ms));
}

// Where an answer's serialized messages go.
//
// The queue is bounded by whoever pushes: it starts with kCredits, spends one a
// message, and gets one back with every Credit. A message that was written is
// with the transport, not yet with the client.
class AnswerSink {
 public:
  static constexpr int kCredits = 8;

  virtual ~AnswerSink() = default;
  // False: the call is over.
  virtual bool Push(grpc::ByteBuffer message) = 0;
  // What is queued is still written. Only the first call counts.
  // `retry_after_ns` as in Accepted.
  virtual void End(grpc::Status status, int64_t retry_after_ns) = 0;
};

// The server's side of a stream that it writes to: `Reactor` is gRPC's.
template <typename Reactor>
class MessageStream : public Reactor, public AnswerSink {
 public:
  // `on_done` runs once, when gRPC has finished with the call.
  MessageStream(grpc::CallbackServerContext* context,
                std::function<void()> on_done)
      : context_(context), on_done_(std::move(on_done)) {}

  // Before the reactor is handed to gRPC. `self` keeps it alive until OnDone,
  // whatever the actor does.
  void Attach(CallActor call, std::shared_ptr<MessageStream> self) {
    call_ = std::move(call);
    self_ = std::move(self);
  }

  bool Push(grpc::ByteBuffer message) override {
    std::unique_lock<std::mutex> lock(mutex_);
    if (closed_) return false;
    queue_.push_back(std::move(message));
    if (!writing_) WriteNext(lock);
    return true;
  }

  void End(grpc::Status status, int64_t retry_after_ns) override {
    std::unique_lock<std::mutex> lock(mutex_);
    if (std::exchange(closed_, true)) return;
    AddRetryPushback(context_, retry_after_ns);
    status_ = std::move(status);
    if (writing_) return;
    lock.unlock();
    this->Finish(status_);
  }

  // Ends the call without what is queued: nobody reads it.
  void Abandon() {
    std::unique_lock<std::mutex> lock(mutex_);
    if (std::exchange(closed_, true)) return;
    status_ = grpc::Status::CANCELLED;
    queue_.clear();
    // gRPC calls OnCancel on another thread, and the context lives at least
    // until Finish.
    context_->TryCancel();
    if (writing_) return;
    lock.unlock();
    this->Finish(status_);
  }

  void OnWriteDone(bool ok) override {
    std::unique_lock<std::mutex> lock(mutex_);
    writing_ = false;
    if (!ok) {
      queue_.clear();
      if (!std::exchange(closed_, true)) status_ = grpc::Status::CANCELLED;
    }
    if (!queue_.empty()) {
      WriteNext(lock);
    } else if (closed_) {
      lock.unlock();
      this->Finish(status_);
      return;
    } else {
      lock.unlock();
    }
    caf::anon_send(call_, Credit{1});
  }

  void OnCancel() override {
    CallActor call;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      call = call_;
    }
    caf::anon_send(call, Disconnected{});
  }

  void OnDone() override {
    CallActor call;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      call = std::exchange(call_, nullptr);
    }
    caf::anon_send(call, Disconnected{});
    on_done_();
    auto keep = std::move(self_);
  }

 protected:
  // Runs `start` of something more from gRPC, unless the call is over.
  template <typename Start>
  void UnlessClosed(Start start) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!closed_) start();
  }

 private:
  void WriteNext(std::unique_lock<std::mutex>& lock) {
    writing_ = true;
    current_ = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    this->StartWrite(&current_);
  }

  grpc::CallbackServerContext* context_;  // lives until OnDone
  std::mutex mutex_;
  std::deque<grpc::ByteBuffer> queue_;
  grpc::ByteBuffer current_;
  grpc::Status status_;
  bool writing_ = false;
  bool closed_ = false;
  std::function<void()> on_done_;
  CallActor call_;
  std::shared_ptr<MessageStream> self_;
};

using ResponseStream =
    MessageStream<grpc::ServerWriteReactor<grpc::ByteBuffer>>;

// A call with one answer. Finish must be called once.
class UnaryCall : public grpc::ServerUnaryReactor {
 public:
  UnaryCall(grpc::ByteBuffer* response, std::function<void()> on_done)
      : response_(response), on_done_(std::move(on_done)) {}

  void Attach(std::shared_ptr<UnaryCall> self) { self_ = std::move(self); }

  void Answer(const std::string& message) {
    if (std::exchange(finished_, true)) return;
    *response_ = ToByteBuffer(message);
    Finish(grpc::Status::OK);
  }
  void Fail(const absl::Status& status) {
    if (std::exchange(finished_, true)) return;
    Finish(ToGrpcStatus(status));
  }

  // Set once nobody waits for the answer any more.
  std::shared_ptr<const std::atomic<bool>> cancelled() const {
    return cancelled_;
  }

  void OnCancel() override { *cancelled_ = true; }

  void OnDone() override {
    on_done_();
    auto keep = std::move(self_);
  }

 private:
  const std::shared_ptr<std::atomic<bool>> cancelled_ =
      std::make_shared<std::atomic<bool>>(false);
  grpc::ByteBuffer* response_;
  std::function<void()> on_done_;
  bool finished_ = false;
  std::shared_ptr<UnaryCall> self_;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_RESPONSE_STREAM_H_
