// What a turn of a conversation is made of: sound as it comes, and other parts.
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/converse_call.h"
#include "actors/media_request.h"
#include "actors/prompt_media.h"

namespace lapidary {
namespace {

constexpr int kMostParts = 256;            // of a turn
constexpr double kMostSeconds = 600;       // of its sounds together
constexpr double kMostSecondsAtOnce = 10;  // of a message

}  // namespace

// --- Sound ------------------------------------------------------------------

void ConverseCallState::TakePcm(const std::string& pcm) {
  if (!context_->model->no_sounds.empty()) {
    return End(absl::UnimplementedError(
        absl::StrCat("pcm: ", context_->model->no_sounds)));
  }
  if (pcm.empty()) {
    const Time heard = heard_;  // that is no sign of life
    Read();
    heard_ = heard;
    return;
  }
  const double seconds = static_cast<double>(pcm.size()) /
                         static_cast<double>(format_.frame_bytes()) /
                         format_.rate;
  if (seconds > kMostSecondsAtOnce) {
    return End(absl::InvalidArgumentError(
        absl::StrCat("pcm: ", seconds, " s in one message, at most ",
                     kMostSecondsAtOnce, " are taken; send several")));
  }
  auto shared = std::make_shared<const std::string>(pcm);
  if (sound_ != 0) return PushPcm(std::move(shared));
  if (turn_.message.parts_size() >= kMostParts) {
    return End(absl::OutOfRangeError(
        absl::StrCat("a turn has at most ", kMostParts, " parts")));
  }
  OpenSoundThen(std::move(shared));
}

std::function<void(caf::error&)> ConverseCallState::SoundLost() {
  return [this, turn = turn_number_](caf::error&) {
    if (turn != turn_number_ || stream_ == nullptr) return;
    End(absl::UnavailableError(
        "the audio actor was lost, and the sound with it; begin again"));
  };
}

void ConverseCallState::OpenSoundThen(
    const std::shared_ptr<const std::string>& pcm) {
  auto lost = SoundLost();
  self_->request(context_->directory, context_->role_timeout, Lookup{"audio"})
      .then(ForThisTurn<caf::strong_actor_ptr>(
                [this, pcm, lost](const caf::strong_actor_ptr& actor) {
                  if (actor == nullptr) {
                    return End(absl::UnavailableError(
                        "no audio actor is alive; try again"));
                  }
                  audio_ = caf::actor_cast<AudioActor>(actor);
                  sound_ = context_->next_sequence++;
                  self_
                      ->request(audio_, caf::infinite,
                                OpenSound{sound_, format_, loud_db_, "",
                                          early_prefill_})
                      .then(ForThisTurn<SoundTaken>(
                                [this, pcm](const SoundTaken& opened) {
                                  if (!opened.status.ok()) {
                                    sound_ = 0;
                                    return End(opened.status);
                                  }
                                  if (early_prefill_) BeginAhead();
                                  PushPcm(pcm);
                                }),
                            lost);
                }),
            lost);
}

void ConverseCallState::BeginAhead() {
  if (!ahead_.may_begin()) return;
  const ModelConfig& config = context_->model->config;
  const int64_t rows = config.sound_rows();
  const int64_t hidden = config.text.hidden_size;
  auto buffer = kernels::AlignedBuffer::Make(rows * hidden * sizeof(float));
  if (buffer == nullptr) return;
  std::memset(buffer->data(), 0, buffer->size());
  ConverseTurn turn = turn_;
  turn.AddMedium(
      MediumKind::kSound,
      kernels::Tensor(kernels::DType::kF32, {rows, hidden}, std::move(buffer)));
  ahead_.Begin(context_, conversation_.RequestFor(turn));
}

// Hugging Face fills every sound up with padding rows; so is the prompt here,
// unless the client wants it short.
kernels::Tensor ConverseCallState::RowsOf(const LiveSound& live) const {
  const ModelConfig& config = context_->model->config;
  const int64_t whole = config.sound_rows();
  const int64_t heard = live.taken.tokens;
  const int64_t ends = whole - config.audio_soft_tokens_per_image;
  if (!omit_padding_ || live.rows.dim(0) != whole || heard < 1 ||
      heard + ends >= whole) {
    return live.rows;
  }
  const size_t row_bytes = live.rows.bytes() / whole;
  auto buffer = kernels::AlignedBuffer::Make((heard + ends) * row_bytes);
  if (buffer == nullptr) return live.rows;
  const auto* rows = live.rows.data<std::byte>();
  std::memcpy(buffer->data(), rows, heard * row_bytes);
  std::memcpy(buffer->data() + heard * row_bytes,
              rows + (whole - ends) * row_bytes, ends * row_bytes);
  return kernels::Tensor(kernels::DType::kF32, {heard + ends, live.rows.dim(1)},
                         std::move(buffer));
}

void ConverseCallState::PushPcm(std::shared_ptr<const std::string> pcm) {
  self_->request(audio_, caf::infinite, PushSound{sound_, std::move(pcm)})
      .then(ForThisTurn<SoundTaken>(
                [this](const SoundTaken& taken) { TakeSoundTaken(taken); }),
            SoundLost());
}

void ConverseCallState::TakeSoundTaken(const SoundTaken& taken) {
  if (!taken.status.ok()) {
    sound_ = 0;
    return End(taken.status);
  }
  taken_ = taken;
  if (static_cast<double>(earlier_.samples + taken.samples) >
      kMostSeconds * kSoundRate) {
    return End(absl::InvalidArgumentError(
        absl::StrCat("the turn has more than ", kMostSeconds,
                     " s of sound, the limit; end it sooner")));
  }
  if (!taken.rows.empty()) ahead_.Take(taken.rows);
  // Its first window will end before this: what stands there will be another.
  if (taken.tokens > context_->model->config.audio_soft_tokens_per_image) {
    ahead_.Drop();
  }
  PushProgress(/*end_of_turn=*/false);
  if (endpointing_ && taken.loud_to > 0 &&
      taken.samples - taken.loud_to >= silence_samples_) {
    EndTurn();
  }
  Read();
}

void ConverseCallState::CloseSound(const std::function<void()>& then) {
  if (sound_ == 0) return then();
  self_->request(audio_, caf::infinite, EndSound{sound_})
      .then(ForThisTurn<LiveSound>([this, then](const LiveSound& live) {
              sound_ = 0;
              if (!live.status.ok()) return End(live.status);
              earlier_ = Sum(earlier_, live.taken);
              taken_ = {};
              if (!live.rows.empty()) {
                ahead_.Check(live.rows);
                turn_.AddMedium(MediumKind::kSound, RowsOf(live));
              }
              const absl::Status fit = CheckTurnFits();
              fit.ok() ? then() : End(fit);
            }),
            SoundLost());
}

// --- Other parts ------------------------------------------------------------

void ConverseCallState::TakePart(const std::shared_ptr<const v1::Part>& given) {
  const v1::Part& part = *given;
  if (turn_.message.parts_size() >= kMostParts) {
    return End(absl::OutOfRangeError(
        absl::StrCat("a turn has at most ", kMostParts, " parts")));
  }
  text_bytes_ += part.text().size();
  if (text_bytes_ > context_->model->max_text_bytes) {
    return End(absl::OutOfRangeError(
        absl::StrCat("the turn's text has more than ",
                     context_->model->max_text_bytes, " bytes, the limit")));
  }
  CloseSound([this, given] {
    switch (given->content_case()) {
      case v1::Part::kText:
        turn_.AddText(given->text());
        return Read();
      case v1::Part::kImage:
      case v1::Part::kAudio:
        return EncodePart(*given);
      case v1::Part::CONTENT_NOT_SET:
        break;
    }
    End(absl::InvalidArgumentError(
        "part is empty; give it a text, an image or a sound"));
  });
}

// No more of it is held than could be in a prompt.
absl::Status ConverseCallState::CheckTurnFits() const {
  int64_t tokens = 0;
  for (const kernels::Tensor& rows : turn_.media) tokens += rows.dim(0);
  const int64_t context = context_->model->config.text.max_position_embeddings;
  if (tokens <= context) return absl::OkStatus();
  return absl::OutOfRangeError(
      absl::StrCat("the turn's images and sounds take ", tokens,
                   " tokens, the model's context has ", context));
}

void ConverseCallState::EncodePart(const v1::Part& part) {
  if (part.image().has_soft_tokens() || part.audio().has_soft_tokens()) {
    return End(absl::InvalidArgumentError(
        "part: soft_tokens are not taken in a conversation; send data, a url "
        "or a file"));
  }
  auto medium = part.has_audio()
                    ? TakeSound(*context_->model, part.audio(), "part.audio")
                    : TakeImage(*context_->model, part.image(), "part.image");
  if (!medium.ok()) return End(medium.status());
  RequestSoftTokens(self_, *context_, *medium, cancelled_,
                    ForThisTurn<EncodedMedium>(
                        [this, kind = medium->kind](const EncodedMedium& rows) {
                          if (!rows.status.ok()) return End(rows.status);
                          turn_.AddMedium(kind, rows.rows);
                          const absl::Status fit = CheckTurnFits();
                          fit.ok() ? Read() : End(fit);
                        }));
}

}  // namespace lapidary
