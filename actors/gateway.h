// The door of a node: the gRPC service, its limits, and its health. Every call
// gets a light actor of its own; no thread belongs to a call.
#ifndef LAPIDARY_ACTORS_GATEWAY_H_
#define LAPIDARY_ACTORS_GATEWAY_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "actors/messages.h"
#include "actors/open_conversations.h"
#include "actors/stream_call.h"
#include "grpcpp/grpcpp.h"
#include "proto/lapidary/v1/lapidary.grpc.pb.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary {

// Methods take their requests as bytes: parsing is the encoder's work, and what
// does not parse gets an answer that says why.
using RawService = v1::Lapidary::WithRawCallbackMethod_Generate<
    v1::Lapidary::WithRawCallbackMethod_Score<
        v1::Lapidary::WithRawCallbackMethod_Tokenize<
            v1::Lapidary::WithRawCallbackMethod_Detokenize<
                v1::Lapidary::WithRawCallbackMethod_ListModels<
                    v1::Lapidary::WithRawCallbackMethod_EncodeMedia<
                        v1::Lapidary::WithRawCallbackMethod_Converse<
                            v1::Lapidary::WithRawCallbackMethod_Status<
                                v1::Lapidary::Service>>>>>>>>;

class GatewayService final : public RawService {
 public:
  // At most `max_calls` calls are open at once, and of them at most
  // `max_conversations` are Converse; more are refused.
  //   models   what ListModels answers
  //   status   what the node itself knows, for Status
  GatewayService(caf::actor_system& system,
                 std::shared_ptr<CallContext> context, int max_calls,
                 int max_conversations, const v1::ListModelsResponse& models,
                 std::function<v1::StatusResponse()> status);

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(
      grpc::CallbackServerContext* context,
      const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Score(
      grpc::CallbackServerContext* context,
      const grpc::ByteBuffer* request) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Converse(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* EncodeMedia(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const grpc::ByteBuffer* request,
                                   grpc::ByteBuffer* response) override;

  // Before the server does: conversations end when their turns have, at once
  // where there is none.
  void ShutDown() { conversations_->ShutDown(); }

 private:
  grpc::ServerWriteReactor<grpc::ByteBuffer>* StartStream(
      Task task, grpc::CallbackServerContext* context,
      const grpc::ByteBuffer& request);
  grpc::ServerUnaryReactor* StartEncode(Task task,
                                        grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer& request,
                                        grpc::ByteBuffer* response);
  // A call that counts; null when there are too many.
  std::shared_ptr<UnaryCall> NewUnaryCall(grpc::ByteBuffer* response);
  bool Enter();
  absl::Status TooManyCalls() const;

  caf::actor_system& system_;
  std::shared_ptr<CallContext> context_;
  const int max_calls_;
  std::shared_ptr<std::atomic<int>> open_calls_;
  const std::shared_ptr<OpenConversations> conversations_;
  const std::string models_;  // serialized
  const std::function<v1::StatusResponse()> status_;
};

using GatewayActor = SubscriberActor::extend<caf::reacts_to<Start>>;

struct GatewayState {
  std::set<std::string> needed;  // roles
  std::set<std::string> alive;
  std::function<void(bool serving)> set_health;
};

// Watches the roles that requests need, and says whether the node can serve.
GatewayActor::behavior_type Gateway(
    GatewayActor::stateful_pointer<GatewayState> self, DirectoryActor directory,
    std::set<std::string> needed, std::function<void(bool serving)> set_health);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_GATEWAY_H_
