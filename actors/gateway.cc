#include "actors/gateway.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/converse_call.h"
#include "actors/foreign_thread.h"
#include "actors/unary_calls.h"

namespace lapidary {
namespace {

// When to try again, where too many calls are open to ask anybody inside.
constexpr int64_t kRetryNs = 1'000'000'000;

// Ends a call that is refused at the door.
class RefusedStream : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  RefusedStream(grpc::CallbackServerContext* context,
                const absl::Status& status) {
    AddRetryPushback(context, kRetryNs);
    Finish(ToGrpcStatus(status));
  }
  void OnDone() override { delete this; }
};

class RefusedConversation
    : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  RefusedConversation(grpc::CallbackServerContext* context,
                      const absl::Status& status) {
    AddRetryPushback(context, kRetryNs);
    Finish(ToGrpcStatus(status));
  }
  void OnDone() override { delete this; }
};

class RefusedCall : public grpc::ServerUnaryReactor {
 public:
  RefusedCall(grpc::CallbackServerContext* context,
              const absl::Status& status) {
    AddRetryPushback(context, kRetryNs);
    Finish(ToGrpcStatus(status));
  }
  void OnDone() override { delete this; }
};

}  // namespace

GatewayService::GatewayService(caf::actor_system& system,
                               std::shared_ptr<CallContext> context,
                               int max_calls, int max_conversations,
                               const v1::ListModelsResponse& models,
                               std::function<v1::StatusResponse()> status)
    : system_(system),
      context_(std::move(context)),
      max_calls_(max_calls),
      open_calls_(std::make_shared<std::atomic<int>>(0)),
      conversations_(std::make_shared<OpenConversations>(max_conversations)),
      models_(models.SerializeAsString()),
      status_(std::move(status)) {}

bool GatewayService::Enter() {
  if (open_calls_->fetch_add(1) < max_calls_) return true;
  open_calls_->fetch_sub(1);
  return false;
}

absl::Status GatewayService::TooManyCalls() const {
  return absl::ResourceExhaustedError(
      absl::StrCat(max_calls_,
                   " calls are open, the most that this node takes; try again "
                   "in a second"));
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GatewayService::StartStream(
    Task task, grpc::CallbackServerContext* context,
    const grpc::ByteBuffer& request) {
  if (!Enter()) return new RefusedStream(context, TooManyCalls());
  const ForeignThread thread;
  auto stream = std::make_shared<ResponseStream>(
      context, [open = open_calls_] { open->fetch_sub(1); });
  CallRequest call{{task, ToString(request)}, context->deadline()};
  StreamCallActor actor =
      system_.spawn(StreamCall, context_, std::move(call), stream);
  stream->Attach(caf::actor_cast<CallActor>(actor), stream);
  caf::anon_send(actor, Start{});
  return stream.get();
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>*
GatewayService::Converse(grpc::CallbackServerContext* context) {
  if (!Enter()) return new RefusedConversation(context, TooManyCalls());
  const absl::StatusOr<uint64_t> place = conversations_->Enter();
  if (!place.ok()) {
    open_calls_->fetch_sub(1);
    return new RefusedConversation(context, place.status());
  }
  const ForeignThread thread;
  auto stream = std::make_shared<ConverseStream>(
      context, [open = open_calls_, all = conversations_, place = *place] {
        open->fetch_sub(1);
        all->Leave(place);
      });
  ConverseActor actor =
      system_.spawn(ConverseCall, context_, context->deadline(), stream);
  stream->Attach(caf::actor_cast<CallActor>(actor), stream);
  stream->AttachReader(caf::actor_cast<ReaderActor>(actor));
  caf::anon_send(actor, Start{});
  conversations_->Attach(*place, actor);
  return stream.get();
}

std::shared_ptr<UnaryCall> GatewayService::NewUnaryCall(
    grpc::ByteBuffer* response) {
  if (!Enter()) return nullptr;
  auto call = std::make_shared<UnaryCall>(
      response, [open = open_calls_] { open->fetch_sub(1); });
  call->Attach(call);
  return call;
}

grpc::ServerUnaryReactor* GatewayService::StartEncode(
    Task task, grpc::CallbackServerContext* context,
    const grpc::ByteBuffer& request, grpc::ByteBuffer* response) {
  auto call = NewUnaryCall(response);
  if (call == nullptr) return new RefusedCall(context, TooManyCalls());
  const ForeignThread thread;
  caf::actor actor = system_.spawn(EncodeCall, context_,
                                   Encode{task, ToString(request)}, call);
  caf::anon_send(actor, Start{});
  return call.get();
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GatewayService::Generate(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return StartStream(Task::kGenerate, context, *request);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GatewayService::Score(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return StartStream(Task::kScore, context, *request);
}

grpc::ServerUnaryReactor* GatewayService::Tokenize(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return StartEncode(Task::kTokenize, context, *request, response);
}

grpc::ServerUnaryReactor* GatewayService::Detokenize(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return StartEncode(Task::kDetokenize, context, *request, response);
}

grpc::ServerUnaryReactor* GatewayService::EncodeMedia(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* response) {
  return StartEncode(Task::kEncodeMedia, context, *request, response);
}

grpc::ServerUnaryReactor* GatewayService::ListModels(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer*,
    grpc::ByteBuffer* response) {
  auto call = NewUnaryCall(response);
  if (call == nullptr) return new RefusedCall(context, TooManyCalls());
  call->Answer(models_);
  return call.get();
}

grpc::ServerUnaryReactor* GatewayService::Status(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer*,
    grpc::ByteBuffer* response) {
  auto call = NewUnaryCall(response);
  if (call == nullptr) return new RefusedCall(context, TooManyCalls());
  const ForeignThread thread;
  caf::actor actor = system_.spawn(StatusCall, context_, status_(), call);
  caf::anon_send(actor, Start{});
  return call.get();
}

GatewayActor::behavior_type Gateway(
    GatewayActor::stateful_pointer<GatewayState> self, DirectoryActor directory,
    std::set<std::string> needed,
    std::function<void(bool serving)> set_health) {
  self->state.needed = std::move(needed);
  self->state.set_health = std::move(set_health);
  return {
      [self](const RoleEvent& event, const caf::strong_actor_ptr&) {
        GatewayState& state = self->state;
        if (state.needed.count(event.role) == 0) return;
        if (event.alive) {
          state.alive.insert(event.role);
        } else {
          state.alive.erase(event.role);
        }
        state.set_health(state.alive == state.needed);
      },
      [self, directory = std::move(directory)](const Start&) {
        self->send(directory, Subscribe{});
      },
  };
}

}  // namespace lapidary
