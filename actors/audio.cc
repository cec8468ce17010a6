#include "actors/audio.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "kernels/compute_turn.h"
#include "kernels/parallel.h"
#include "storage/file_io.h"
#include "storage/sound_windows.h"

namespace lapidary {
namespace {

using Clock = std::chrono::steady_clock;

// The asker names the sound by its field.
absl::Status WithoutName(const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StripPrefix(status.message(), "sound: "));
}

SoundReaderActor::behavior_type SoundReader(SoundReaderActor::pointer,
                                            SoundLimits limits,
                                            int64_t window_samples) {
  return {
      [=](const ReadSound& read) -> SoundSamples {
        try {
          absl::StatusOr<Sound> sound = DecodeSound(*read.file, limits);
          if (!sound.ok()) return {WithoutName(sound.status()), 1, nullptr};
          SoundSamples answer;
          answer.windows = static_cast<int32_t>(
              CountWindows(sound->samples, window_samples));
          if (!read.only_measure) {
            answer.samples =
                std::make_shared<std::vector<float>>(std::move(sound->samples));
          }
          return answer;
        } catch (const std::bad_alloc&) {
          return {absl::ResourceExhaustedError(
                      "no memory to decode the sound; send a shorter one"),
                  1, nullptr};
        }
      },
  };
}

}  // namespace

absl::StatusOr<SoundWindow> SoundWindowOf(const ModelConfig& config) {
  if (!config.audio.ok()) return config.audio.status();
  const kernels::audio::AudioConfig& audio = *config.audio;
  SoundWindow window;
  window.soft_tokens = config.audio_soft_tokens_per_image;
  window.samples = LongestWindow(audio, window.soft_tokens);
  if (config.tower_ends_sound()) {
    window.end_row = config.eoa_token_id.value_or(0) - audio.vocab_offset;
    if (window.end_row < 0 || window.end_row >= audio.vocab_size) {
      return absl::FailedPreconditionError(absl::StrCat(
          "config.json: the audio tower embeds tokens [", audio.vocab_offset,
          ", ", audio.vocab_offset + audio.vocab_size, "), eoa_token_id is ",
          config.eoa_token_id.value_or(0)));
    }
  }
  return window;
}

AudioActorState::~AudioActorState() {
  const absl::Status lost =
      absl::UnavailableError("the audio actor was lost; try again");
  for (const Clip& clip : clips_) clip.Answer({lost, {}});
  while (!live_.empty()) Fail(live_.begin()->first, lost);
  if (config_.board != nullptr) config_.board->Write(std::nullopt);
}

void AudioActorState::Configure(AudioActorConfig config) {
  config_ = std::move(config);
  cache_ = std::make_unique<MediaCache>(config_.cache_bytes);
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
  status.loaded = tower_ != nullptr;
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
  status.cache_bytes = cache_->bytes();
  status.cache_capacity = cache_->capacity();
  status.waiting = static_cast<int64_t>(clips_.size());
  status.live = static_cast<int64_t>(live_.size());
  return status;
}

void AudioActorState::Post() const {
  if (config_.board != nullptr) config_.board->Write(Describe());
}

// --- The tower --------------------------------------------------------------

absl::Status AudioActorState::Load() {
  if (tower_ != nullptr) return absl::OkStatus();
  auto weights = config_.model->LoadAudio();
  if (!weights.ok()) return weights.status();
  tower_ = std::make_unique<kernels::audio::AudioTower>(*std::move(weights));
  ++counters_.loads;
  Post();
  return absl::OkStatus();
}

void AudioActorState::MayUnload() {
  if (!clips_.empty() || !live_.empty()) return;
  last_used_ = Clock::now();
  if (config_.pinned) return;
  self_->delayed_send(self_, config_.idle, AudioIdleCheck{});
}

void AudioActorState::UnloadIfIdle() {
  if (tower_ == nullptr || config_.pinned || !clips_.empty() ||
      !live_.empty() || Clock::now() - last_used_ < config_.idle) {
    return;
  }
  tower_.reset();
  ++counters_.unloads;
  Post();
}

void AudioActorState::Arm() {
  const bool clip = !clips_.empty() && clips_.front().encoding != nullptr;
  const bool live = std::any_of(live_.begin(), live_.end(), [](auto& entry) {
    return entry.second.encoding.HasWork();
  });
  if ((clip || live) && !std::exchange(armed_, true)) {
    self_->send(self_, NextSoundSlice{});
  }
}

absl::Status AudioActorState::Slice(SoundEncoding* encoding,
                                    int64_t* compute_ns) {
  try {
    const kernels::ComputeTurn turn;
    const Time began = Clock::now();
    const absl::Status status = encoding->Step();
    const int64_t ns = std::chrono::nanoseconds(Clock::now() - began).count();
    counters_.compute_ns += ns;
    *compute_ns += ns;
    return status;
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        "no memory to encode the sound; try again later");
  }
}

// Live sounds first, each once, then the files.
void AudioActorState::Advance() {
  armed_ = false;
  DropUnwanted();
  auto next = live_.upper_bound(last_live_);
  while (next != live_.end() && !next->second.encoding.HasWork()) ++next;
  if (next != live_.end()) {
    last_live_ = next->first;
    AdvanceLive(next->first, next->second);
  } else {
    last_live_ = 0;
    if (!clips_.empty() && clips_.front().encoding != nullptr) AdvanceClip();
  }
  Post();
  Arm();
}

// --- Files ------------------------------------------------------------------

caf::result<EncodedMedium> AudioActorState::Take(const EncodeSound& encode) {
  const std::string key =
      encode.key.empty() ? Checksum(*encode.file) : encode.key;
  kernels::Tensor known = cache_->Find(key, *encode.file);
  if (!known.empty()) {
    ++counters_.cache_hits;
    Post();
    return EncodedMedium{absl::OkStatus(), std::move(known)};
  }
  auto promise = self_->make_response_promise<EncodedMedium>();
  const MediaAsker asker{promise, encode.cancelled};
  for (Clip& clip : clips_) {
    if (!clip.Is(key, *encode.file)) continue;
    ++counters_.cache_hits;
    Post();
    clip.askers.push_back(asker);
    return promise;
  }
  const size_t bytes = encode.file->size();
  if (!clips_.empty() && waiting_bytes_ + bytes > config_.max_waiting_bytes) {
    promise.deliver(
        EncodedMedium{absl::ResourceExhaustedError(absl::StrCat(
                          clips_.size(), " sounds of ", waiting_bytes_,
                          " bytes wait already, ", config_.max_waiting_bytes,
                          " may; try again later")),
                      {}});
    return promise;
  }
  ++counters_.cache_misses;
  waiting_bytes_ += bytes;
  Clip& clip = clips_.emplace_back();
  clip.key = key;
  clip.file = encode.file;
  clip.askers.push_back(asker);
  Post();
  ReadFirst();
  return promise;
}

caf::result<MeasuredSound> AudioActorState::Measure(
    const MeasureSound& measure) {
  const std::string key =
      measure.key.empty() ? Checksum(*measure.file) : measure.key;
  const kernels::Tensor known = cache_->Find(key, *measure.file);
  if (!known.empty()) {
    return MeasuredSound{absl::OkStatus(),
                         static_cast<int32_t>(known.dim(0) / window_.rows())};
  }
  auto promise = self_->make_response_promise<MeasuredSound>();
  self_->request(reader_, caf::infinite, ReadSound{measure.file, true})
      .then(
          [promise](const SoundSamples& read) mutable {
            promise.deliver(MeasuredSound{read.status, read.windows});
          },
          [promise](caf::error&) mutable {
            promise.deliver(MeasuredSound{
                absl::InternalError("the sound was not read"), 1});
          });
  return promise;
}

// Has the first file read, unless it is already.
void AudioActorState::ReadFirst() {
  if (clips_.empty()) return MayUnload();
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

// The files behind the first that nobody waits for any more.
void AudioActorState::DropUnwanted() {
  for (size_t i = 1; i < clips_.size();) {
    if (clips_[i].wanted()) {
      ++i;
      continue;
    }
    waiting_bytes_ -= clips_[i].file->size();
    clips_[i].Answer({Unwanted("sound"), {}});
    clips_.erase(clips_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void AudioActorState::AdvanceClip() {
  Clip& first = clips_.front();
  if (!first.wanted()) return FinishFirst(Unwanted("sound"));
  const int64_t windows = first.encoding->windows();
  int64_t ns = 0;
  const absl::Status status = Slice(first.encoding.get(), &ns);
  if (!status.ok()) return FinishFirst(status);
  if (first.encoding->done()) return FinishFirst(first.encoding->Rows());
  if (first.encoding->windows() == windows || clips_.size() == 1) return;
  // It has had its window: the others' turn.
  Clip moved = std::move(first);
  clips_.pop_front();
  const std::ptrdiff_t behind = std::min<std::ptrdiff_t>(
      config_.open_clips - 1, static_cast<std::ptrdiff_t>(clips_.size()));
  clips_.insert(clips_.begin() + behind, std::move(moved));
  ReadFirst();
}

// Answers all who asked for the first file, and goes on to the next.
void AudioActorState::FinishFirst(const absl::StatusOr<kernels::Tensor>& rows) {
  const Clip clip = std::move(clips_.front());
  clips_.pop_front();
  waiting_bytes_ -= clip.file->size();
  EncodedMedium answer;
  answer.status = rows.status();
  if (rows.ok()) {
    answer.rows = *rows;
    cache_->Add(clip.key, clip.file, *rows);
    ++counters_.sounds;
    counters_.samples += clip.encoding->samples();
  }
  clip.Answer(answer);
  DropUnwanted();
  Post();
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
      [self](const AudioIdleCheck&) { self->state.UnloadIfIdle(); },
  };
}

}  // namespace lapidary
