// Live sounds that other nodes encode.
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "actors/remote_audio.h"
#include "storage/sound_decoder.h"

namespace lapidary {
namespace {

// Nobody computes for so long; sums of it stay far from overflowing.
constexpr int64_t kMostComputeNs = int64_t{1} << 50;

// What of a peer's words is the client's fault, or means the same as said by a
// tower of one's own; anything else is the peer's.
bool IsTheSounds(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsOutOfRange(status);
}

absl::Status Cut(const absl::Status& status) {
  return absl::Status(status.code(), status.message().substr(0, kPeerWords));
}

// The most samples that so many bytes of it become.
int64_t MostSamples(const PcmFormat& format, uint64_t bytes) {
  return static_cast<int64_t>(
      (bytes / format.frame_bytes() + 1) * kSoundRate / format.rate + 1);
}

}  // namespace

// --- Questions --------------------------------------------------------------

caf::result<SoundTaken> RemoteAudioState::TakeLive(const OpenSound& open) {
  SoundTaken refused;
  if (live_.size() >= static_cast<size_t>(config_.max_live)) {
    refused.status = absl::ResourceExhaustedError(
        absl::StrCat(live_.size(),
                     " live sounds are being encoded, the most that this node "
                     "takes; try again later"));
    return refused;
  }
  // What is no format is said here, and what follows may count with it.
  refused.status = PcmStream::Open(open.format, config_.limits).status();
  if (!refused.status.ok()) return refused;
  const auto [at, added] = live_.try_emplace(open.sound);
  if (!added) {
    refused.status = absl::InternalError("two live sounds of one number");
    return refused;
  }
  Live& live = at->second;
  live.client = caf::actor_cast<caf::actor_addr>(self_->current_sender());
  self_->monitor(live.client);
  live.open = open;
  live.open.tower = peers_.config().tower;
  auto promise = self_->make_response_promise<SoundTaken>();
  live.opening = promise;
  Begin(open.sound, live);
  return promise;
}

void RemoteAudioState::Begin(SoundId id, Live& live) {
  const size_t chosen = peers_.Choose(&live.attempts);
  if (chosen == peers_.size()) {
    return Fail(id, peers_.AllFailed(live.attempts));
  }
  live.peer = chosen;
  live.call = ++last_call_;
  live.talk = peers_.channel(chosen).Hear(
      [self = caf::actor_cast<caf::actor>(self_), id,
       call = live.call](absl::StatusOr<WireMessage> answer) {
        caf::anon_send(
            self, PeerHeard{id, call,
                            std::make_shared<const absl::StatusOr<WireMessage>>(
                                std::move(answer))});
      });
  live.asked = Clock::now();
  live.talk->Ask(live.open);
}

absl::Status RemoteAudioState::Ready(SoundId id) {
  const auto at = live_.find(id);
  if (at == live_.end()) {
    return absl::UnavailableError(
        "the sound so far was lost with the audio actor; begin the turn again");
  }
  if (!at->second.lost.ok()) {
    const absl::Status lost = at->second.lost;
    Remove(id);
    return lost;
  }
  if (at->second.waiting()) {
    return absl::InternalError("two messages of one live sound at once");
  }
  return absl::OkStatus();
}

caf::result<SoundTaken> RemoteAudioState::TakePcm(const PushSound& push) {
  const absl::Status ready = Ready(push.sound);
  if (!ready.ok()) {
    SoundTaken lost;
    lost.status = ready;
    return lost;
  }
  Live& live = live_.at(push.sound);
  live.bytes += push.pcm->size();
  live.pushing = self_->make_response_promise<SoundTaken>();
  auto promise = *live.pushing;
  live.asked = Clock::now();
  live.talk->Ask(push);
  return promise;
}

caf::result<LiveSound> RemoteAudioState::EndLive(const EndSound& end) {
  const absl::Status ready = Ready(end.sound);
  if (!ready.ok()) {
    LiveSound lost;
    lost.status = ready;
    return lost;
  }
  Live& live = live_.at(end.sound);
  live.ending = self_->make_response_promise<LiveSound>();
  auto promise = *live.ending;
  live.asked = Clock::now();
  live.talk->Ask(end);
  return promise;
}

// --- Answers ----------------------------------------------------------------

absl::StatusOr<SoundTaken> RemoteAudioState::CheckTaken(
    const SoundTaken& taken, const Live& live) const {
  if (!taken.status.ok()) return Cut(taken.status);
  const int64_t most = MostSamples(live.open.format, live.bytes);
  const auto within = [](int64_t value, int64_t least, int64_t highest) {
    return value >= least && value <= highest;
  };
  // What waits is counted in whole frames, with their padding.
  if (!within(taken.samples, live.taken.samples, most) ||
      !within(taken.waiting_samples, 0, taken.samples + kSoundRate) ||
      !within(taken.tokens, 0, taken.samples) ||
      !within(taken.compute_ns, 0, kMostComputeNs) ||
      !within(taken.loud_to, 0, taken.samples)) {
    return absl::InternalError("its counts cannot be of this sound");
  }
  if (taken.rows.empty()) return taken;
  const int64_t rows = taken.rows.shape()[0];
  if (!live.open.wants_rows || rows > window_.soft_tokens) {
    return absl::InternalError("it has soft tokens that were not asked for");
  }
  const absl::Status checked =
      CheckPeerRows(taken.rows, rows, peers_.config().width);
  if (!checked.ok()) return checked;
  return taken;
}

absl::StatusOr<LiveSound> RemoteAudioState::CheckEnded(const LiveSound& ended,
                                                       const Live& live) const {
  if (!ended.status.ok()) return Cut(ended.status);
  const absl::StatusOr<SoundTaken> taken = CheckTaken(ended.taken, live);
  if (!taken.ok()) return taken.status();
  const int64_t least =
      (taken->samples + window_.samples - 1) / window_.samples;
  const int64_t most = window_.most_windows(taken->samples);
  if (ended.rows.empty() && taken->samples == 0) return ended;
  const std::vector<int64_t>& shape = ended.rows.shape();
  const int64_t rows = shape.empty() ? 0 : shape[0];
  const int64_t windows = rows / window_.rows();
  if (windows < least || windows > most || windows == 0) {
    return absl::InternalError(absl::StrCat("its soft tokens are of ", windows,
                                            " windows, for ", taken->samples,
                                            " samples"));
  }
  const absl::Status checked = CheckPeerRows(
      ended.rows, windows * window_.rows(), peers_.config().width);
  if (!checked.ok()) return checked;
  return ended;
}

void RemoteAudioState::TakeOpened(SoundId id, Live& live,
                                  const absl::StatusOr<SoundTaken>& opened) {
  if (opened.ok()) {
    live.taken = *opened;
    std::exchange(live.opening, std::nullopt)->deliver(*opened);
    return;
  }
  // Nothing is lost yet. Its format is right, so another one may do better.
  std::exchange(live.talk, nullptr)->Cancel();
  peers_.Release(live.peer);
  live.attempts.failures.push_back(peers_.Failed(live.peer, opened.status()));
  Begin(id, live);
}

void RemoteAudioState::TakeHeard(const PeerHeard& heard) {
  const auto at = live_.find(heard.sound);
  if (at == live_.end() || at->second.call != heard.call) return;
  Live& live = at->second;
  const absl::StatusOr<WireMessage>& answer = *heard.answer;
  const auto* taken = answer.ok() ? std::get_if<SoundTaken>(&*answer) : nullptr;
  const auto* ended = answer.ok() ? std::get_if<LiveSound>(&*answer) : nullptr;
  // Said by gRPC or by the other node's door, whatever the code; a full one is
  // told apart.
  absl::Status wrong = absl::InternalError("it answered with another message");
  if (!answer.ok()) {
    wrong = absl::IsResourceExhausted(answer.status())
                ? answer.status()
                : absl::UnavailableError(answer.status().message());
  }
  if (live.opening.has_value()) {
    return TakeOpened(heard.sound, live,
                      taken == nullptr ? wrong : CheckTaken(*taken, live));
  }
  if (live.pushing.has_value() && taken != nullptr) {
    const absl::StatusOr<SoundTaken> checked = CheckTaken(*taken, live);
    if (!checked.ok()) return Lose(heard.sound, checked.status());
    live.taken = *checked;
    std::exchange(live.pushing, std::nullopt)->deliver(*checked);
  } else if (live.ending.has_value() && ended != nullptr) {
    const absl::StatusOr<LiveSound> checked = CheckEnded(*ended, live);
    if (!checked.ok()) return Lose(heard.sound, checked.status());
    peers_.CountEncoded(live.peer);
    counters_.samples += checked->taken.samples;
    counters_.compute_ns += checked->taken.compute_ns;
    auto waits = std::exchange(live.ending, std::nullopt);
    Remove(heard.sound);
    waits->deliver(*checked);
  } else {
    Lose(heard.sound, wrong);
  }
}

// --- Ends -------------------------------------------------------------------

void RemoteAudioState::Lose(SoundId id, const absl::Status& why) {
  Live& live = live_.at(id);
  if (live.opening.has_value()) return TakeOpened(id, live, why);
  if (IsTheSounds(why)) return Fail(id, why);
  const absl::Status lost = absl::UnavailableError(absl::StrCat(
      peers_.Failed(live.peer, why).message(),
      "; the sound so far was lost with it, begin the turn again"));
  if (live.waiting()) return Fail(id, lost);
  live.lost = lost;
  live.talk->Cancel();
  live.call = 0;
}

void RemoteAudioState::Fail(SoundId id, const absl::Status& status) {
  const auto at = live_.find(id);
  if (at == live_.end()) return;
  auto opening = std::move(at->second.opening);
  auto pushing = std::move(at->second.pushing);
  auto ending = std::move(at->second.ending);
  Remove(id);
  SoundTaken taken;
  taken.status = status;
  LiveSound ended;
  ended.status = status;
  if (opening.has_value()) opening->deliver(taken);
  if (pushing.has_value()) pushing->deliver(taken);
  if (ending.has_value()) ending->deliver(ended);
}

void RemoteAudioState::Drop(SoundId sound) {
  Fail(sound, absl::CancelledError("the client no longer sends the sound"));
}

void RemoteAudioState::DropOf(const caf::actor_addr& client) {
  std::vector<SoundId> theirs;
  for (const auto& [id, live] : live_) {
    if (live.client == client) theirs.push_back(id);
  }
  for (const SoundId id : theirs) Drop(id);
}

void RemoteAudioState::Remove(SoundId id) {
  const auto at = live_.find(id);
  if (at == live_.end()) return;
  Live& live = at->second;
  self_->demonitor(live.client);
  if (live.talk != nullptr) {
    live.talk->Cancel();
    peers_.Release(live.peer);
  }
  live_.erase(at);
}

void RemoteAudioState::Probe() {
  std::vector<SoundId> late;
  for (auto& [id, live] : live_) {
    if (!live.lost.ok()) continue;
    if (!live.waiting()) {
      live.talk->Beat();
    } else if (absl::FromChrono(Clock::now() - live.asked) >
               peers_.config().timeout) {
      late.push_back(id);
    }
  }
  for (const SoundId id : late) {
    Lose(id, absl::DeadlineExceededError("it did not answer in time"));
  }
  peers_.Probe();
}

}  // namespace lapidary
