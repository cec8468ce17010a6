#include "actors/peer_service.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "actors/foreign_thread.h"
#include "actors/messages_wire.h"
#include "actors/response_stream.h"
#include "storage/file_io.h"

namespace lapidary {
namespace {

constexpr std::chrono::seconds kLookupTimeout{10};

struct PeerCallState {
  // A call whose actor is lost must end as well.
  ~PeerCallState() {
    if (call != nullptr) {
      call->Fail(absl::UnavailableError("the call's actor was lost"));
    }
  }

  std::shared_ptr<UnaryCall> call;
};

using Self = caf::stateful_actor<PeerCallState>*;

void Fail(Self self, const absl::Status& status) {
  self->state.call->Fail(status);
  self->quit();
}

void EncodeFor(Self self, const caf::strong_actor_ptr& vision,
               EncodeImage encode) {
  if (vision == nullptr) {
    return Fail(self, absl::UnavailableError("no vision actor is alive"));
  }
  encode.cancelled = self->state.call->cancelled();
  self->request(caf::actor_cast<VisionActor>(vision), caf::infinite,
                std::move(encode))
      .then(
          [self](const EncodedMedium& image) {
            self->state.call->Answer(Flatten(ToWire(image)));
            self->quit();
          },
          [self](caf::error& error) {
            Fail(self, absl::UnavailableError(
                           absl::StrCat("the vision actor was lost: ",
                                        self->system().render(error))));
          });
}

// The actor of one question.
caf::behavior PeerCall(Self self, DirectoryActor directory, EncodeImage encode,
                       std::shared_ptr<UnaryCall> call) {
  self->state.call = std::move(call);
  return {
      [self, directory, encode](const Start&) {
        self->request(directory, kLookupTimeout, Lookup{"vision"})
            .then(
                [self, encode](const caf::strong_actor_ptr& vision) {
                  EncodeFor(self, vision, encode);
                },
                [self](caf::error& error) {
                  Fail(self,
                       absl::UnavailableError(self->system().render(error)));
                });
      },
  };
}

// What peers may ask.
absl::Status CheckQuestion(const PeerServiceConfig& config,
                           const absl::StatusOr<WireMessage>& question) {
  if (!question.ok()) return question.status();
  const bool is_image = std::holds_alternative<EncodeImage>(*question);
  if (!is_image && !std::holds_alternative<StatusQuery>(*question)) {
    return absl::UnimplementedError(
        "a node asks another to encode images, and nothing else");
  }
  if (!config.no_vision.empty()) {
    return absl::UnimplementedError(config.no_vision);
  }
  // Whoever is asked by a peer must not do what that peer did not ask for.
  if (is_image && std::get<EncodeImage>(*question).tower.empty()) {
    return absl::InvalidArgumentError("EncodeImage.tower is empty");
  }
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* PeerService::Ask(grpc::CallbackServerContext*,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) {
  const bool room = open_->fetch_add(1) < config_.max_open;
  auto call = std::make_shared<UnaryCall>(
      response, [open = open_] { open->fetch_sub(1); });
  call->Attach(call);
  if (!room) {
    call->Fail(absl::UnavailableError(absl::StrCat(
        config_.max_open, " questions of peers are open; try again later")));
    return call.get();
  }
  auto question = FromWire(ToString(*request), {});
  const absl::Status status = CheckQuestion(config_, question);
  if (!status.ok()) {
    call->Fail(status);
    return call.get();
  }
  if (std::holds_alternative<StatusQuery>(*question)) {
    const std::optional<VisionStatus> vision = config_.vision->Read();
    if (vision.has_value()) {
      call->Answer(Flatten(ToWire(*vision)));
    } else {
      call->Fail(absl::UnavailableError("no vision actor is alive"));
    }
    return call.get();
  }
  EncodeImage encode = std::get<EncodeImage>(*std::move(question));
  encode.key = Checksum(*encode.file);
  const ForeignThread thread;
  caf::actor actor =
      system_.spawn(PeerCall, config_.directory, std::move(encode), call);
  caf::anon_send(actor, Start{});
  return call.get();
}

}  // namespace lapidary
