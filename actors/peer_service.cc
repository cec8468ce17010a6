#include "actors/peer_service.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "actors/foreign_thread.h"
#include "actors/messages_wire.h"
#include "actors/peer_sound.h"
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

template <typename Actor, typename Question>
void EncodeFor(Self self, const caf::strong_actor_ptr& tower,
               Question question) {
  if (tower == nullptr) {
    return Fail(self, absl::UnavailableError("no actor of its tower is alive"));
  }
  question.key = Checksum(*question.file);
  question.cancelled = self->state.call->cancelled();
  self->request(caf::actor_cast<Actor>(tower), caf::infinite,
                std::move(question))
      .then(
          [self](const EncodedMedium& medium) {
            self->state.call->Answer(Flatten(ToWire(medium)));
            self->quit();
          },
          [self](caf::error& error) {
            Fail(self, absl::UnavailableError(
                           absl::StrCat("the actor of its tower was lost: ",
                                        self->system().render(error))));
          });
}

// The actor of one question, which `role`, an Actor, is to answer.
template <typename Actor, typename Question>
caf::behavior PeerCall(Self self, DirectoryActor directory, std::string role,
                       Question question, std::shared_ptr<UnaryCall> call) {
  self->state.call = std::move(call);
  return {
      [self, directory, role, question](const Start&) {
        self->request(directory, kLookupTimeout, Lookup{role})
            .then(
                [self, question](const caf::strong_actor_ptr& tower) {
                  EncodeFor<Actor>(self, tower, question);
                },
                [self](caf::error& error) {
                  Fail(self,
                       absl::UnavailableError(self->system().render(error)));
                });
      },
  };
}

template <typename Board>
void AnswerStatus(const Board& board, UnaryCall* call) {
  const auto status = board.Read();
  if (status.has_value()) {
    call->Answer(Flatten(ToWire(*status)));
  } else {
    call->Fail(absl::UnavailableError("no actor of its tower is alive"));
  }
}

// Whose a question is: "vision", "audio"; empty for nobody's.
std::string RoleOf(const WireMessage& question) {
  if (std::holds_alternative<EncodeImage>(question)) return "vision";
  if (std::holds_alternative<EncodeSound>(question)) return "audio";
  const auto* status = std::get_if<StatusQuery>(&question);
  const bool known = status != nullptr &&
                     (status->role == "vision" || status->role == "audio");
  return known ? status->role : "";
}

// What peers may ask.
absl::Status CheckQuestion(const PeerServiceConfig& config,
                           const absl::StatusOr<WireMessage>& question) {
  if (!question.ok()) return question.status();
  const std::string role = RoleOf(*question);
  if (role.empty()) {
    return absl::UnimplementedError(
        "a node asks another to encode images and sounds, and nothing else");
  }
  const std::string& no = role == "vision" ? config.no_vision : config.no_audio;
  if (!no.empty()) return absl::UnimplementedError(no);
  // Whoever is asked by a peer must not do what that peer did not ask for.
  const auto* image = std::get_if<EncodeImage>(&*question);
  const auto* sound = std::get_if<EncodeSound>(&*question);
  if ((image != nullptr && image->tower.empty()) ||
      (sound != nullptr && sound->tower.empty())) {
    return absl::InvalidArgumentError("the tower has no name");
  }
  return absl::OkStatus();
}

// Ends a live sound that is refused at the door.
class RefusedSound
    : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  explicit RefusedSound(const absl::Status& status) {
    Finish(ToGrpcStatus(status));
  }
  void OnDone() override { delete this; }
};

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
  const std::string role = RoleOf(*question);
  if (std::holds_alternative<StatusQuery>(*question)) {
    role == "vision" ? AnswerStatus(*config_.vision, call.get())
                     : AnswerStatus(*config_.audio, call.get());
    return call.get();
  }
  const ForeignThread thread;
  const caf::actor actor =
      role == "vision"
          ? system_.spawn(PeerCall<VisionActor, EncodeImage>, config_.directory,
                          role, std::get<EncodeImage>(*question), call)
          : system_.spawn(PeerCall<AudioActor, EncodeSound>, config_.directory,
                          role, std::get<EncodeSound>(*question), call);
  caf::anon_send(actor, Start{});
  return call.get();
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* PeerService::Hear(
    grpc::CallbackServerContext* context) {
  if (!config_.no_audio.empty()) {
    return new RefusedSound(absl::UnimplementedError(config_.no_audio));
  }
  if (live_->fetch_add(1) >= config_.max_live) {
    live_->fetch_sub(1);
    return new RefusedSound(absl::ResourceExhaustedError(absl::StrCat(
        config_.max_live, " live sounds of peers are open; try again later")));
  }
  const ForeignThread thread;
  auto stream = std::make_shared<PeerSoundStream>(
      context, [live = live_] { live->fetch_sub(1); });
  PeerSoundConfig config;
  config.directory = config_.directory;
  config.sound = next_sound_++;
  PeerSoundActor actor = system_.spawn(PeerSound, config, stream);
  stream->Attach(caf::actor_cast<CallActor>(actor), stream);
  stream->AttachReader(caf::actor_cast<PeerSoundStream::Reader>(actor));
  caf::anon_send(actor, Start{});
  return stream.get();
}

}  // namespace lapidary
