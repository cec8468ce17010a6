#include "actors/peer_channel.h"

#include <algorithm>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "actors/grpc_bytes.h"
#include "actors/messages_wire.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"

namespace lapidary {
namespace {

constexpr char kAskMethod[] = "/lapidary.internal.Peer/Ask";
constexpr char kHearMethod[] = "/lapidary.internal.Peer/Hear";
// A peer's own words are not worth more.
constexpr size_t kMostMessageBytes = 500;

struct OneAsk : PeerAsk {
  void Cancel() override { context.TryCancel(); }

  grpc::ClientContext context;
  grpc::ByteBuffer request, response;
};

std::shared_ptr<grpc::Channel> Connect(const std::string& address,
                                       size_t max_answer_bytes) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(
      std::min<size_t>(max_answer_bytes, std::numeric_limits<int>::max())));
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPeerKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPeerKeepaliveMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

absl::StatusOr<WireMessage> ReadAnswer(const grpc::Status& status,
                                       const grpc::ByteBuffer& response) {
  if (!status.ok()) {
    return absl::Status(
        static_cast<absl::StatusCode>(status.error_code()),
        absl::string_view(status.error_message()).substr(0, kMostMessageBytes));
  }
  return FromWire(ToString(response), {});
}

}  // namespace

struct PeerChannel::Impl {
  explicit Impl(std::shared_ptr<grpc::Channel> channel)
      : stub(std::move(channel)) {}

  void Opened(std::shared_ptr<PeerAsk> ask) {
    std::lock_guard<std::mutex> lock(mutex);
    open.insert(std::move(ask));
  }
  void Finished(const std::shared_ptr<PeerAsk>& ask) {
    std::lock_guard<std::mutex> lock(mutex);
    open.erase(ask);
    if (open.empty()) none_open.notify_all();
  }

  grpc::GenericStub stub;
  std::mutex mutex;
  std::condition_variable none_open;
  std::set<std::shared_ptr<PeerAsk>> open;
};

// gRPC ends it by OnDone, once nothing is being read or written; until the peer
// has ended, something is always being read.
class PeerChannel::OneTalk
    : public PeerTalk,
      public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  OneTalk(std::shared_ptr<Impl> impl, Done heard)
      : impl_(std::move(impl)), heard_(std::move(heard)) {}

  // `self` keeps it alive until OnDone.
  void Start(std::shared_ptr<OneTalk> self) {
    self_ = std::move(self);
    impl_->Opened(self_);
    impl_->stub.PrepareBidiStreamingCall(&context_, kHearMethod,
                                         grpc::StubOptions(), this);
    // Until the last answer: what is written outside of gRPC's calls needs it.
    AddHold();
    StartRead(&incoming_);
    StartCall();
  }

  void Ask(const WireMessage& message) override {
    grpc::ByteBuffer question = ToByteBuffer(Flatten(ToWire(message)));
    {
      std::lock_guard<std::mutex> lock(mutex_);
      asked_ = true;
      if (over_) return;
      question_ = std::move(question);
      waits_ = true;
      if (!TakeQuestion()) return;
      AddHold();
    }
    StartWrite(&outgoing_);
    RemoveHold();
  }

  void Beat() override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (over_ || std::exchange(writing_, true)) return;
      outgoing_ = ToByteBuffer("");
      AddHold();
    }
    StartWrite(&outgoing_);
    RemoveHold();
  }

  void Cancel() override { context_.TryCancel(); }

  void OnWriteDone(bool) override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      writing_ = false;
      if (over_ || !TakeQuestion()) return;
    }
    StartWrite(&outgoing_);
  }

  void OnReadDone(bool ok) override {
    bool unasked = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      unasked = ok && !std::exchange(asked_, false);
      ok = ok && !unasked;
      unasked_ = unasked;
      over_ = !ok;
    }
    if (unasked) context_.TryCancel();
    if (!ok) return RemoveHold();
    heard_(FromWire(ToString(incoming_), {}));
    incoming_.Clear();
    StartRead(&incoming_);
  }

  void OnDone(const grpc::Status& status) override {
    if (unasked_) {
      heard_(absl::InternalError("it answered what nobody had asked"));
    } else if (status.ok()) {
      heard_(absl::UnavailableError("it ended the sound"));
    } else {
      heard_(ReadAnswer(status, {}));
    }
    const std::shared_ptr<PeerAsk> keep = std::move(self_);
    impl_->Finished(keep);
  }

 private:
  // Whether outgoing_ is a question, to be written now.
  bool TakeQuestion() {
    if (writing_ || !std::exchange(waits_, false)) return false;
    outgoing_ = std::move(question_);
    return writing_ = true;
  }

  const std::shared_ptr<Impl> impl_;
  const Done heard_;
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;
  std::shared_ptr<OneTalk> self_;

  std::mutex mutex_;
  grpc::ByteBuffer question_, outgoing_;
  bool waits_ = false;    // question_, to be written
  bool writing_ = false;  // outgoing_
  bool asked_ = false;    // and not answered
  bool over_ = false, unasked_ = false;
};

PeerChannel::PeerChannel(const std::string& address, size_t max_answer_bytes)
    : impl_(std::make_shared<Impl>(Connect(address, max_answer_bytes))) {}

PeerChannel::~PeerChannel() {
  std::unique_lock<std::mutex> lock(impl_->mutex);
  for (const std::shared_ptr<PeerAsk>& ask : impl_->open) ask->Cancel();
  impl_->none_open.wait(lock, [this] { return impl_->open.empty(); });
}

std::shared_ptr<PeerAsk> PeerChannel::Ask(const WireMessage& message,
                                          absl::Duration timeout, Done done) {
  auto ask = std::make_shared<OneAsk>();
  ask->request = ToByteBuffer(Flatten(ToWire(message)));
  ask->context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  impl_->Opened(ask);
  impl_->stub.UnaryCall(
      &ask->context, kAskMethod, grpc::StubOptions(), &ask->request,
      &ask->response,
      [impl = impl_, ask, done = std::move(done)](const grpc::Status& status) {
        done(ReadAnswer(status, ask->response));
        impl->Finished(ask);
      });
  return ask;
}

std::shared_ptr<PeerTalk> PeerChannel::Hear(Done heard) {
  auto talk = std::make_shared<OneTalk>(impl_, std::move(heard));
  talk->Start(talk);
  return talk;
}

}  // namespace lapidary
