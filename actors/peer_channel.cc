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

  void Finished(const std::shared_ptr<OneAsk>& ask) {
    std::lock_guard<std::mutex> lock(mutex);
    open.erase(ask);
    if (open.empty()) none_open.notify_all();
  }

  grpc::GenericStub stub;
  std::mutex mutex;
  std::condition_variable none_open;
  std::set<std::shared_ptr<OneAsk>> open;
};

PeerChannel::PeerChannel(const std::string& address, size_t max_answer_bytes)
    : impl_(std::make_shared<Impl>(Connect(address, max_answer_bytes))) {}

PeerChannel::~PeerChannel() {
  std::unique_lock<std::mutex> lock(impl_->mutex);
  for (const std::shared_ptr<OneAsk>& ask : impl_->open) ask->Cancel();
  impl_->none_open.wait(lock, [this] { return impl_->open.empty(); });
}

std::shared_ptr<PeerAsk> PeerChannel::Ask(const WireMessage& message,
                                          absl::Duration timeout, Done done) {
  auto ask = std::make_shared<OneAsk>();
  ask->request = ToByteBuffer(Flatten(ToWire(message)));
  ask->context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  {
    std::lock_guard<std::mutex> lock(impl_->mutex);
    impl_->open.insert(ask);
  }
  impl_->stub.UnaryCall(
      &ask->context, kAskMethod, grpc::StubOptions(), &ask->request,
      &ask->response,
      [impl = impl_, ask, done = std::move(done)](const grpc::Status& status) {
        done(ReadAnswer(status, ask->response));
        impl->Finished(ask);
      });
  return ask;
}

}  // namespace lapidary
