#include "actors/peer_sound.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "actors/grpc_bytes.h"

namespace lapidary {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kLookupTimeout{10};

}  // namespace

PeerQuestion PeerQuestion::Read(const std::string& bytes) {
  if (bytes.empty()) return {};
  return {
      std::make_shared<const absl::StatusOr<WireMessage>>(FromWire(bytes, {}))};
}

PeerSoundState::~PeerSoundState() {
  if (stream_ != nullptr) {
    stream_->End(
        ToGrpcStatus(absl::UnavailableError("the call's actor was lost")), 0);
  }
}

void PeerSoundState::Begin(PeerSoundConfig config,
                           std::shared_ptr<PeerSoundStream> stream) {
  config_ = std::move(config);
  stream_ = std::move(stream);
}

void PeerSoundState::End(const absl::Status& status) {
  if (stream_ != nullptr) {
    std::exchange(stream_, nullptr)->End(ToGrpcStatus(status), 0);
  }
  self_->quit();
}

void PeerSoundState::Open() {
  self_->request(config_.directory, kLookupTimeout, Lookup{"audio"})
      .then(
          [this](const caf::strong_actor_ptr& audio) {
            if (audio == nullptr) {
              return End(absl::UnavailableError("no audio actor is alive"));
            }
            audio_ = caf::actor_cast<AudioActor>(audio);
            Read();
            CheckSilence();
          },
          [this](caf::error& error) {
            End(absl::UnavailableError(self_->system().render(error)));
          });
}

void PeerSoundState::Read() {
  if (stream_ == nullptr) return;
  heard_ = Clock::now();
  reading_ = true;
  stream_->Read();
}

void PeerSoundState::CheckSilence() {
  const Clock::duration silence = Clock::now() - heard_;
  if (reading_ && silence >= config_.silence) {
    return End(absl::DeadlineExceededError(
        absl::StrCat("the asking node has said nothing for ",
                     config_.silence.count(), " ms")));
  }
  self_->delayed_send(
      self_,
      reading_ ? config_.silence - silence : Clock::duration(config_.silence),
      PeerSilenceCheck{});
}

void PeerSoundState::TakeQuestion(const PeerQuestion& asked) {
  reading_ = false;
  if (asked.question == nullptr) return Read();
  if (!asked.question->ok()) return End(asked.question->status());
  Ask(**asked.question);
}

void PeerSoundState::Ask(const WireMessage& question) {
  const auto* open = std::get_if<OpenSound>(&question);
  if (open != nullptr && !opened_) {
    // Whoever is asked by a peer must not do what that peer did not ask for.
    if (open->tower.empty()) {
      return End(absl::InvalidArgumentError("OpenSound.tower is empty"));
    }
    opened_ = true;
    OpenSound mine = *open;
    mine.sound = config_.sound;
    return PassOn<SoundTaken>(mine);
  }
  const auto* push = std::get_if<PushSound>(&question);
  if (push != nullptr && opened_) {
    return PassOn<SoundTaken>(PushSound{config_.sound, push->pcm});
  }
  if (std::holds_alternative<EndSound>(question) && opened_) {
    return PassOn<LiveSound>(EndSound{config_.sound});
  }
  End(absl::InvalidArgumentError(
      "a live sound is OpenSound, then PushSounds, then EndSound"));
}

template <typename Answer, typename Question>
void PeerSoundState::PassOn(const Question& question) {
  self_->request(audio_, caf::infinite, question)
      .then(
          [this](const Answer& answer) {
            constexpr bool kEnds = std::is_same_v<Answer, LiveSound>;
            PushAnswer(answer, kEnds || !answer.status.ok());
          },
          [this](caf::error& error) {
            End(absl::UnavailableError(absl::StrCat(
                "the audio actor was lost: ", self_->system().render(error))));
          });
}

void PeerSoundState::PushAnswer(const WireMessage& answer, bool last) {
  if (stream_ == nullptr) return;
  stream_->Push(ToByteBuffer(Flatten(ToWire(answer))));
  last ? End(absl::OkStatus()) : Read();
}

PeerSoundActor::behavior_type PeerSound(
    PeerSoundActor::stateful_pointer<PeerSoundState> self,
    PeerSoundConfig config, std::shared_ptr<PeerSoundStream> stream) {
  self->state.Begin(std::move(config), std::move(stream));
  return {
      // What is written is bounded by the questions.
      [](const Credit&) {},
      [self](const Disconnected&) {
        self->state.End(absl::CancelledError("the asking node is gone"));
      },
      [self](const PeerQuestion& asked) { self->state.TakeQuestion(asked); },
      [self](const ClientDone&) {
        self->state.End(absl::CancelledError("the asking node is gone"));
      },
      [self](const Start&) { self->state.Open(); },
      [self](const PeerSilenceCheck&) { self->state.CheckSilence(); },
  };
}

}  // namespace lapidary
