// Sounds that are encoded while they arrive.
#include <algorithm>
#include <new>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/audio.h"

namespace lapidary {
namespace {

// Of a sound in a batch with others: what may wait to be encoded for a chunk's
// sender to be answered is twice that.
constexpr int64_t kMostSamplesBesideOthers = int64_t{2} * kSoundRate;

}  // namespace

SoundTaken AudioActorState::Taken(Live& live) const {
  SoundTaken taken;
  taken.samples = live.encoding.samples();
  taken.waiting_samples = live.encoding.waiting_samples();
  taken.tokens = live.encoding.tokens();
  taken.compute_ns = live.compute_ns;
  taken.loud_to = live.loudness.loud_to();
  if (live.wants_rows) {
    taken.rows = live.encoding.FirstWindowFrom(live.rows_told);
    if (!taken.rows.empty()) live.rows_told += taken.rows.dim(0);
  }
  return taken;
}

caf::result<SoundTaken> AudioActorState::TakeLive(const OpenSound& open) {
  SoundTaken taken;
  if (!open.tower.empty() && open.tower != counters_.tower) {
    taken.status = OtherTower();
    return taken;
  }
  if (live_.size() >= static_cast<size_t>(config_.max_live)) {
    taken.status = absl::ResourceExhaustedError(
        absl::StrCat(live_.size(),
                     " live sounds are being encoded, the most that this node "
                     "takes; try again later"));
    return taken;
  }
  SoundLimits limits = config_.limits;
  limits.max_seconds = config_.max_live_seconds;
  auto pcm = PcmStream::Open(open.format, limits);
  taken.status = pcm.status();
  if (taken.status.ok()) taken.status = Load();
  if (!taken.status.ok()) return taken;
  const caf::actor_addr client =
      caf::actor_cast<caf::actor_addr>(self_->current_sender());
  const auto [at, added] = live_.try_emplace(
      open.sound, client, *std::move(pcm), tower_.get(), window_, open.loud_db);
  if (!added) {
    taken.status = absl::InternalError("two live sounds of one number");
    return taken;
  }
  at->second.wants_rows = open.wants_rows;
  self_->monitor(client);
  Post();
  return taken;
}

caf::result<SoundTaken> AudioActorState::TakePcm(const PushSound& push) {
  SoundTaken taken;
  const auto at = live_.find(push.sound);
  if (at == live_.end()) {
    taken.status = absl::UnavailableError(
        "the sound so far was lost with the audio actor; begin the turn again");
    return taken;
  }
  Live& live = at->second;
  if (live.taken.has_value() || live.ended.has_value()) {
    taken.status = absl::FailedPreconditionError(
        "a chunk of sound before the last one was taken, or after the end");
    return taken;
  }
  std::vector<float> samples;
  try {
    taken.status = live.pcm->Push(*push.pcm, &samples);
    if (taken.status.ok()) live.encoding.Push(samples);
  } catch (const std::bad_alloc&) {
    taken.status = NoMemory();
  }
  if (!taken.status.ok()) {
    Remove(push.sound);
    return taken;
  }
  live.loudness.Take(samples);
  Post();
  Arm();
  if (HasRoom(live)) return Taken(live);
  live.taken = self_->make_response_promise<SoundTaken>();
  return *live.taken;
}

caf::result<LiveSound> AudioActorState::EndLive(const EndSound& end) {
  LiveSound ended;
  const auto at = live_.find(end.sound);
  if (at == live_.end()) {
    ended.status = absl::UnavailableError(
        "the sound was lost with the audio actor; begin the turn again");
    return ended;
  }
  Live& live = at->second;
  if (live.ended.has_value()) {
    ended.status = absl::FailedPreconditionError("a second end of a sound");
    return ended;
  }
  std::vector<float> samples;
  ended.status = live.pcm->Finish(&samples);
  if (!ended.status.ok()) {
    Remove(end.sound);
    return ended;
  }
  live.encoding.Push(samples);
  live.loudness.Take(samples);
  live.encoding.Finish();
  if (live.encoding.samples() == 0) {
    Remove(end.sound);
    return ended;
  }
  live.ended = self_->make_response_promise<LiveSound>();
  auto promise = *live.ended;
  Arm();
  return promise;
}

bool AudioActorState::LiveHasWork() const {
  return batch_ != nullptr ||
         std::any_of(live_.begin(), live_.end(), [](const auto& entry) {
           return entry.second.encoding.HasWork();
         });
}

bool AudioActorState::HasRoom(const Live& live) const {
  return live.encoding.waiting_samples() <=
         static_cast<int64_t>(config_.max_live_waiting_seconds * kSoundRate);
}

void AudioActorState::BeginBatch() {
  std::vector<SoundId> ready, few;
  for (const auto& [id, live] : live_) {
    if (live.encoding.HasWork()) {
      ready.push_back(id);
    } else if (live.encoding.HasWork(/*frames=*/1)) {
      few.push_back(id);
    }
  }
  // One that is far behind would keep the others waiting.
  const int64_t most = ready.size() + few.size() > 1 ? kMostSamplesBesideOthers
                                                     : SoundEncoding::kAll;
  std::vector<kernels::audio::AudioState*> clips;
  const auto join = [&](SoundId id) {
    try {
      const auto clip = live_.at(id).encoding.Next(most);
      if (!clip.ok()) return Fail(id, clip.status());
      if (*clip == nullptr) return AnswerLive(id);
      in_batch_.push_back(id);  // first: Fail takes it out again
      clips.push_back(*clip);
    } catch (const std::bad_alloc&) {
      Fail(id, NoMemory());
    }
  };
  std::for_each(ready.begin(), ready.end(), join);
  // Of those who are ready some may only have come to their end.
  if (clips.empty()) return;
  // Who has less than a batch of its own costs next to nothing in another's,
  // and the next batch then finds all of them ready at the same time.
  std::for_each(few.begin(), few.end(), join);
  batch_ = std::make_unique<kernels::audio::AudioBatch>(tower_.get(), clips);
  ++counters_.live_batches;
  counters_.live_batch_sounds += clips.size();
}

void AudioActorState::AdvanceBatch() {
  bool more = false;
  const auto took = Slice([&] {
    if (batch_ == nullptr) BeginBatch();
    more = batch_ != nullptr && batch_->Step();
    // Who is at the end need not wait for another slice.
    for (const SoundId id : in_batch_) {
      if (!more) live_.at(id).encoding.EndIfEncoded();
    }
    return absl::OkStatus();
  });
  if (took.ok()) {
    const auto sounds = static_cast<int64_t>(in_batch_.size());
    for (const SoundId id : in_batch_) {
      live_.at(id).compute_ns += took->count() / sounds;
    }
    if (more) return;
  }
  const std::vector<SoundId> ready = std::exchange(in_batch_, {});
  batch_.reset();
  for (const SoundId id : ready) {
    if (took.ok()) {
      AnswerLive(id);
    } else {
      Fail(id, took.status());
    }
  }
}

void AudioActorState::AnswerLive(SoundId id) {
  Live& live = live_.at(id);
  if (live.taken.has_value() && HasRoom(live)) {
    live.taken->deliver(Taken(live));
    live.taken.reset();
  }
  if (!live.encoding.done()) return;
  LiveSound answer;
  auto rows = live.encoding.Rows();
  answer.status = rows.status();
  if (rows.ok()) answer.rows = *std::move(rows);
  answer.taken = Taken(live);
  counters_.samples += live.encoding.samples();
  auto ended = std::move(live.ended);
  Remove(id);
  if (ended.has_value()) ended->deliver(answer);
}

void AudioActorState::Fail(SoundId id, const absl::Status& status) {
  const auto at = live_.find(id);
  if (at == live_.end()) return;
  SoundTaken taken;
  taken.status = status;
  LiveSound ended;
  ended.status = status;
  auto chunk = std::move(at->second.taken);
  auto end = std::move(at->second.ended);
  Remove(id);
  if (chunk.has_value()) chunk->deliver(taken);
  if (end.has_value()) end->deliver(ended);
}

void AudioActorState::Drop(SoundId sound) {
  Fail(sound, absl::CancelledError("the client no longer sends the sound"));
}

void AudioActorState::DropOf(const caf::actor_addr& client) {
  std::vector<SoundId> theirs;
  for (const auto& [id, live] : live_) {
    if (live.client == client) theirs.push_back(id);
  }
  for (const SoundId id : theirs) Drop(id);
}

void AudioActorState::Remove(SoundId id) {
  const auto at = live_.find(id);
  if (at == live_.end()) return;
  self_->demonitor(at->second.client);
  live_.erase(at);
  in_batch_.erase(std::remove(in_batch_.begin(), in_batch_.end(), id),
                  in_batch_.end());
  if (in_batch_.empty()) batch_.reset();
  Post();
  MayRest();
}

}  // namespace lapidary
