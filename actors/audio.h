// The audio actor: sounds in, soft tokens out; whole files, or live ones whose
// samples come while they are spoken.
//
// Its tower is loaded when a sound first needs it, or at the start if it is
// pinned, and unloaded after some time without sounds. Work is done in slices
// between which the decoder has its turns (kernels/compute_turn.h): one of each
// live sound that has enough for a batch, then one of the files, which take
// turns by the window. A file that was encoded before, or is being encoded, is
// not encoded again.
#ifndef LAPIDARY_ACTORS_AUDIO_H_
#define LAPIDARY_ACTORS_AUDIO_H_

#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "actors/loudness.h"
#include "actors/media_cache.h"
#include "actors/media_jobs.h"
#include "actors/messages.h"
#include "actors/messages_audio.h"
#include "actors/sound_encoding.h"
#include "actors/status_board.h"
#include "kernels/audio/tower.h"
#include "storage/packed_model.h"
#include "storage/sound.h"
#include "storage/sound_decoder.h"

namespace lapidary {

// What a window of this model's sounds is; FAILED_PRECONDITION for a
// config.json in which tower and text model do not fit each other.
absl::StatusOr<SoundWindow> SoundWindowOf(const ModelConfig& config);

struct AudioActorConfig {
  std::shared_ptr<const PackedModel> model;
  bool pinned = false;
  // Without a sound for so long an unpinned tower is unloaded.
  std::chrono::nanoseconds idle{std::chrono::minutes(5)};
  size_t cache_bytes = size_t{64} << 20;
  SoundLimits limits;  // of a file
  // Where its status is written whenever that changes; may be null.
  std::shared_ptr<AudioBoard> board;
  // Bytes of files that may wait, beside the one at work; a file more is
  // refused with RESOURCE_EXHAUSTED.
  size_t max_waiting_bytes = size_t{256} << 20;
  // Files that take turns: their samples are held. Of others only the file is.
  int open_clips = 4;
  int max_live = 64;  // live sounds at once; more are refused as well
  // Of a live sound, and how much of it may wait before its client does.
  double max_live_seconds = 600;
  double max_live_waiting_seconds = 4;
  int threads = 1;  // that compute
};

struct ReadSound {
  std::shared_ptr<const std::string> file;
  bool only_measure = false;
};

struct SoundSamples {
  absl::Status status;
  int32_t windows = 1;
  std::shared_ptr<std::vector<float>> samples;  // the receiver's to take
};

// Decodes, on a thread of its own that is not the team's.
using SoundReaderActor =
    caf::typed_actor<caf::replies_to<ReadSound>::with<SoundSamples>>;

struct NextSoundSlice {};
struct AudioIdleCheck {};

using LocalAudioActor = AudioActor::extend<caf::reacts_to<NextSoundSlice>,
                                           caf::reacts_to<AudioIdleCheck>>;

class AudioActorState {
 public:
  explicit AudioActorState(LocalAudioActor::pointer self) : self_(self) {}
  // Tells all who wait that it is lost.
  ~AudioActorState();

  void Configure(AudioActorConfig config);
  caf::result<Started> Open();
  caf::result<EncodedMedium> Take(const EncodeSound& encode);
  caf::result<MeasuredSound> Measure(const MeasureSound& measure);
  caf::result<SoundTaken> TakeLive(const OpenSound& open);
  caf::result<SoundTaken> TakePcm(const PushSound& push);
  caf::result<LiveSound> EndLive(const EndSound& end);
  void Drop(SoundId sound);
  void DropOf(const caf::actor_addr& client);
  void Advance();
  void UnloadIfIdle();
  AudioStatus Describe() const;

 private:
  using Time = std::chrono::steady_clock::time_point;

  struct Clip : MediaJob {
    bool reading = false;
    std::unique_ptr<SoundEncoding> encoding;  // null: not read yet
  };
  struct Live {
    caf::actor_addr client;
    std::unique_ptr<PcmStream> pcm;
    SoundEncoding encoding;
    Loudness loudness;
    int64_t compute_ns = 0;
    bool wants_rows = false;
    int64_t rows_told = 0;
    // A chunk that has been taken and is answered when there is room; or the
    // end, when all is encoded.
    std::optional<caf::typed_response_promise<SoundTaken>> taken;
    std::optional<caf::typed_response_promise<LiveSound>> ended;

    Live(caf::actor_addr from, std::unique_ptr<PcmStream> stream,
         kernels::audio::AudioTower* tower, const SoundWindow& window,
         double loud_db)
        : client(std::move(from)),
          pcm(std::move(stream)),
          encoding(tower, window),
          loudness(loud_db) {}
  };

  absl::Status Load();
  void Post() const;
  // Has another slice done, if there is anything to do.
  void Arm();
  absl::Status Slice(SoundEncoding* encoding, int64_t* compute_ns);
  void MayUnload();

  // --- Files
  void ReadFirst();
  void TakeSamples(const SoundSamples& read);
  void DropUnwanted();
  void AdvanceClip();
  void FinishFirst(const absl::StatusOr<kernels::Tensor>& rows);

  // --- Live sounds
  // With the rows that are due (OpenSound::wants_rows).
  SoundTaken Taken(Live& live) const;
  void AdvanceLive(SoundId id, Live& live);
  void Fail(SoundId id, const absl::Status& status);
  void Remove(SoundId id);

  LocalAudioActor::pointer self_;
  AudioActorConfig config_;
  SoundWindow window_;
  std::unique_ptr<MediaCache> cache_;
  SoundReaderActor reader_;
  std::unique_ptr<kernels::audio::AudioTower> tower_;  // null: not loaded
  std::deque<Clip> clips_;  // the first is being read or encoded
  std::map<SoundId, Live> live_;
  SoundId last_live_ = 0;  // that had a slice
  bool armed_ = false;
  Time last_used_;
  size_t waiting_bytes_ = 0;  // of all clips' files
  AudioStatus counters_;
};

// Computes: spawn it detached.
LocalAudioActor::behavior_type Audio(
    LocalAudioActor::stateful_pointer<AudioActorState> self,
    AudioActorConfig config);

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ReadSound)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::SoundSamples)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::NextSoundSlice)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::AudioIdleCheck)

#endif  // LAPIDARY_ACTORS_AUDIO_H_
