#include "actors/remote_audio.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"

namespace lapidary {

RemoteAudioState::~RemoteAudioState() {
  const absl::Status lost =
      absl::UnavailableError("the audio actor was lost; try again");
  peers_.jobs().FailAll(lost);
  while (!live_.empty()) Fail(live_.begin()->first, lost);
}

Started RemoteAudioState::Open() {
  absl::StatusOr<SoundWindow> window = SoundWindowOf(config_.model->config());
  if (!window.ok()) return {window.status(), {}};
  window_ = *window;
  reader_ = self_->spawn<caf::detached + caf::linked>(
      SoundReader, config_.limits, window_.samples);
  MediaPeersConfig peers = config_.peers;
  peers.tower = config_.model->audio_fingerprint();
  peers.width = config_.model->config().text.hidden_size;
  peers.max_rows =
      window_.rows() *
      window_.most_windows(static_cast<int64_t>(
          std::max(config_.limits.max_seconds, kMaxLiveSeconds) * kSoundRate));
  peers_.Open(
      self_->address(), peers,
      [tower = peers.tower](const RemoteJob& job) {
        return EncodeSound{job.file, nullptr, "", tower};
      },
      [this](const RemoteJob& job) {
        ++counters_.sounds;
        counters_.samples += job.samples;
        counters_.compute_ns +=
            std::chrono::nanoseconds(Clock::now() - job.began).count();
      });
  peers_.Probe();
  return {};
}

// --- Files ------------------------------------------------------------------

caf::result<EncodedMedium> RemoteAudioState::Take(const EncodeSound& encode) {
  auto promise = self_->make_response_promise<EncodedMedium>();
  RemoteJob* job =
      peers_.jobs().Take(encode.file, encode.key, {promise, encode.cancelled});
  if (job == nullptr) return promise;
  self_->request(reader_, caf::infinite, ReadSound{encode.file, true})
      .then([this,
             id = job->id](const SoundSamples& read) { TakeMeasure(id, read); },
            [this, id = job->id](caf::error&) {
              SoundSamples unread;
              unread.status = absl::InternalError("the sound was not read");
              TakeMeasure(id, unread);
            });
  peers_.ArmDrop();
  return promise;
}

void RemoteAudioState::TakeMeasure(uint64_t id, const SoundSamples& read) {
  RemoteJob* job = peers_.jobs().Find(id);
  if (job == nullptr) return;  // nobody waited for it any more
  if (!read.status.ok()) return peers_.jobs().Finish(job, {read.status, {}});
  job->rows = read.windows * window_.rows();
  job->samples = read.count;
  peers_.Send(job);
}

caf::result<MeasuredSound> RemoteAudioState::Measure(
    const MeasureSound& measure) {
  const kernels::Tensor known = peers_.jobs().Known(*measure.file, measure.key);
  if (!known.empty()) {
    return MeasuredSound{absl::OkStatus(),
                         static_cast<int32_t>(known.dim(0) / window_.rows())};
  }
  return measuring_.Ask(self_, reader_, measure);
}

AudioStatus RemoteAudioState::Describe() const {
  AudioStatus status = counters_;
  peers_.jobs().Describe(&status);
  status.live = static_cast<int64_t>(live_.size());
  for (const auto& [id, live] : live_) {
    status.live_waiting_samples =
        std::max(status.live_waiting_samples, live.taken.waiting_samples);
  }
  status.tower = peers_.config().tower;
  status.peers = peers_.Statuses();
  return status;
}

RemoteAudioActor::behavior_type RemoteAudio(
    RemoteAudioActor::stateful_pointer<RemoteAudioState> self,
    RemoteAudioConfig config) {
  self->state.Configure(std::move(config));
  self->set_down_handler(
      [self](const caf::down_msg& down) { self->state.DropOf(down.source); });
  return {
      [self](const Start&) -> caf::result<Started> {
        return self->state.Open();
      },
      [self](const EncodeSound& encode) { return self->state.Take(encode); },
      [self](const MeasureSound& sound) { return self->state.Measure(sound); },
      [self](const OpenSound& open) { return self->state.TakeLive(open); },
      [self](const PushSound& push) { return self->state.TakePcm(push); },
      [self](const EndSound& end) { return self->state.EndLive(end); },
      [self](const DropSound& drop) { self->state.Drop(drop.sound); },
      [self](const StatusQuery&) { return self->state.Describe(); },
      [self](const PeerHeard& heard) { self->state.TakeHeard(heard); },
      [self](const PeerAnswered& answered) {
        self->state.peers().TakeAnswer(answered);
      },
      [self](const PeerProbed& probed) {
        self->state.peers().TakeProbe(probed);
      },
      [self](const ProbePeers&) { self->state.Probe(); },
      [self](const DropUnwanted&) { self->state.peers().Drop(); },
  };
}

}  // namespace lapidary
