#include "actors/audio.h"

#include <algorithm>
#include <new>
#include <utility>

#include "kernels/compute_turn.h"
#include "kernels/parallel.h"

namespace lapidary {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

AudioActorState::~AudioActorState() {
  const absl::Status lost =
      absl::UnavailableError("the audio actor was lost; try again");
  clips_.FailAll(lost);
  while (!live_.empty()) Fail(live_.begin()->first, lost);
  if (config_.board != nullptr) config_.board->Write(std::nullopt);
}

void AudioActorState::Configure(AudioActorConfig config) {
  config_ = std::move(config);
  counters_.tower = config_.model->audio_fingerprint();
  tower_.Open(config_.pinned, config_.idle);
  clips_.Open("sound", config_.bounds, config_.cache_bytes, [this] { Post(); });
}

caf::result<Started> AudioActorState::Open() {
  absl::StatusOr<SoundWindow> window = SoundWindowOf(config_.model->config());
  if (!window.ok()) return Started{window.status(), {}};
  window_ = *window;
  // Before this thread is pinned, which those it starts would be with it.
  reader_ = self_->spawn<caf::detached + caf::linked>(
      SoundReader, config_.limits, window_.samples);
  kernels::SetComputeThreads(config_.threads);
  kernels::PinComputeThreads();
  Post();
  if (config_.pinned) return Started{Load(), {}};
  return Started{};
}

AudioStatus AudioActorState::Describe() const {
  AudioStatus status = counters_;
  tower_.Describe(&status);
  clips_.Describe(&status);
  status.weight_bytes = config_.model->audio_bytes();
  if (status.loaded) status.activation_bytes = tower_->ScratchBytes();
  for (const Clip& clip : clips_) {
    if (clip.encoding != nullptr) {
      status.activation_bytes += clip.encoding->bytes();
    }
  }
  for (const auto& [id, live] : live_) {
    status.activation_bytes += live.encoding.bytes();
    status.live_waiting_samples =
        std::max(status.live_waiting_samples, live.encoding.waiting_samples());
  }
  if (batch_ != nullptr) status.activation_bytes += batch_->bytes();
  status.live = static_cast<int64_t>(live_.size());
  return status;
}

void AudioActorState::Post() const {
  if (config_.board != nullptr) config_.board->Write(Describe());
}

// --- The tower --------------------------------------------------------------

absl::Status AudioActorState::Load() {
  absl::Status status =
      tower_.Load([this] { return config_.model->LoadAudio(); });
  Post();
  return status;
}

void AudioActorState::MayRest() {
  if (!busy()) tower_.Rest(self_);
}

void AudioActorState::UnloadIfIdle() {
  if (tower_.UnloadIfIdle(busy())) Post();
}

void AudioActorState::Arm() {
  if ((ClipHasWork() || LiveHasWork()) && !std::exchange(armed_, true)) {
    self_->send(self_, NextSoundSlice{});
  }
}

absl::StatusOr<std::chrono::nanoseconds> AudioActorState::Slice(
    absl::FunctionRef<absl::Status()> step) {
  try {
    const kernels::ComputeTurn turn;
    const Time began = Clock::now();
    const absl::Status status = step();
    const std::chrono::nanoseconds took = Clock::now() - began;
    counters_.compute_ns += took.count();
    if (!status.ok()) return status;
    return took;
  } catch (const std::bad_alloc&) {
    return NoMemory();
  }
}

absl::Status AudioActorState::NoMemory() {
  return absl::ResourceExhaustedError(
      "no memory to encode the sound; try again later");
}

void AudioActorState::Advance() {
  armed_ = false;
  clips_.DropUnwanted(1);
  const bool live = LiveHasWork();
  if (ClipHasWork() &&
      (!live || slices_of_batches_ >= std::max<size_t>(1, in_batch_.size()))) {
    slices_of_batches_ = 0;
    AdvanceClip();
  } else if (live) {
    ++slices_of_batches_;
    AdvanceBatch();
  }
  Post();
  Arm();
}

// --- Files ------------------------------------------------------------------

bool AudioActorState::ClipHasWork() const {
  return !clips_.empty() && clips_.front().encoding != nullptr;
}

caf::result<EncodedMedium> AudioActorState::Take(const EncodeSound& encode) {
  if (!encode.tower.empty() && encode.tower != counters_.tower) {
    return EncodedMedium{OtherTower(), {}};
  }
  auto promise = self_->make_response_promise<EncodedMedium>();
  clips_.DropUnwanted(1);  // lest they keep this one out
  if (clips_.Take(encode.file, encode.key, {promise, encode.cancelled})) {
    ReadFirst();
  }
  return promise;
}

caf::result<MeasuredSound> AudioActorState::Measure(
    const MeasureSound& measure) {
  const kernels::Tensor known = clips_.Known(*measure.file, measure.key);
  if (!known.empty()) {
    return MeasuredSound{absl::OkStatus(),
                         static_cast<int32_t>(known.dim(0) / window_.rows())};
  }
  return measuring_.Ask(self_, reader_, measure);
}

// Has the first file read, unless it is already.
void AudioActorState::ReadFirst() {
  if (clips_.empty()) return MayRest();
  Clip& first = clips_.front();
  if (first.encoding != nullptr) return Arm();
  if (std::exchange(first.reading, true)) return;
  self_->request(reader_, caf::infinite, ReadSound{first.file, false})
      .then([this](const SoundSamples& read) { TakeSamples(read); },
            [this](caf::error&) {
              FinishFirst(absl::InternalError("the sound was not read"));
            });
}

// Of the first file, which stays the first until it is read.
void AudioActorState::TakeSamples(const SoundSamples& read) {
  absl::Status status = read.status;
  if (status.ok()) status = Load();
  if (!status.ok()) return FinishFirst(status);
  Clip& first = clips_.front();
  first.encoding = std::make_unique<SoundEncoding>(tower_.get(), window_);
  first.encoding->PushAll(std::move(*read.samples));
  Post();
  Arm();
}

void AudioActorState::AdvanceClip() {
  Clip& first = clips_.front();
  if (!first.wanted()) return FinishFirst(clips_.Unwanted());
  const int64_t windows = first.encoding->windows();
  const auto took = Slice([&first] { return first.encoding->Step(); });
  if (!took.ok()) return FinishFirst(took.status());
  if (first.encoding->done()) return FinishFirst(first.encoding->Rows());
  if (first.encoding->windows() == windows || clips_.size() == 1) return;
  // It has had its window: the others' turn.
  clips_.MoveBack(&first, config_.open_clips - 1);
  ReadFirst();
}

// Answers all who asked for the first file, and goes on to the next.
void AudioActorState::FinishFirst(const absl::StatusOr<kernels::Tensor>& rows) {
  Clip& first = clips_.front();
  EncodedMedium answer;
  answer.status = rows.status();
  if (rows.ok()) {
    answer.rows = *rows;
    ++counters_.sounds;
    counters_.samples += first.encoding->samples();
  }
  clips_.Finish(&first, answer);
  clips_.DropUnwanted(1);
  ReadFirst();
}

LocalAudioActor::behavior_type Audio(
    LocalAudioActor::stateful_pointer<AudioActorState> self,
    AudioActorConfig config) {
  self->state.Configure(std::move(config));
  self->set_down_handler(
      [self](const caf::down_msg& down) { self->state.DropOf(down.source); });
  return {
      [self](const Start&) { return self->state.Open(); },
      [self](const EncodeSound& encode) { return self->state.Take(encode); },
      [self](const MeasureSound& sound) { return self->state.Measure(sound); },
      [self](const OpenSound& open) { return self->state.TakeLive(open); },
      [self](const PushSound& push) { return self->state.TakePcm(push); },
      [self](const EndSound& end) { return self->state.EndLive(end); },
      [self](const DropSound& drop) { self->state.Drop(drop.sound); },
      [self](const StatusQuery&) { return self->state.Describe(); },
      [self](const NextSoundSlice&) { self->state.Advance(); },
      [self](const IdleCheck&) { self->state.UnloadIfIdle(); },
  };
}

}  // namespace lapidary
