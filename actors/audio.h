// The audio actor: sounds in, soft tokens out; whole files, or live ones whose
// samples come while they are spoken.
//
// Its tower is loaded when a sound first needs it, or at the start if it is
// pinned, and unloaded after some time without sounds. Work is done in slices
// between which the decoder has its turns (kernels/compute_turn.h). As soon as
// one live sound has enough for a batch, all that have something go through the
// tower together, since its weights are then read once for all of them. Beside
// a batch of n sounds, files have every (n + 1)th slice; they take turns by the
// window. A file that was encoded before, or is being encoded, is not encoded
// again.
#ifndef LAPIDARY_ACTORS_AUDIO_H_
#define LAPIDARY_ACTORS_AUDIO_H_

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "actors/lazy_tower.h"
#include "actors/loudness.h"
#include "actors/media_jobs.h"
#include "actors/messages.h"
#include "actors/messages_audio.h"
#include "actors/sound_encoding.h"
#include "actors/sound_reader.h"
#include "actors/status_board.h"
#include "kernels/audio/tower.h"
#include "storage/packed_model.h"
#include "storage/sound.h"
#include "storage/sound_decoder.h"

namespace lapidary {

struct AudioActorConfig {
  std::shared_ptr<const PackedModel> model;
  bool pinned = false;
  // Without a sound for so long an unpinned tower is unloaded.
  std::chrono::nanoseconds idle{std::chrono::minutes(5)};
  size_t cache_bytes = size_t{64} << 20;
  SoundLimits limits;  // of a file
  // Where its status is written whenever that changes; may be null.
  std::shared_ptr<AudioBoard> board;
  MediaBounds bounds;
  // Files that take turns: their samples are held. Of others only the file is.
  int open_clips = 4;
  int max_live = 64;  // live sounds at once; more are refused as well
  // Of a live sound, and how much of it may wait before its client does.
  double max_live_seconds = kMaxLiveSeconds;
  double max_live_waiting_seconds = 4;
  int threads = 1;  // that compute
};

struct NextSoundSlice {};

using LocalAudioActor = AudioActor::extend<caf::reacts_to<NextSoundSlice>,
                                           caf::reacts_to<IdleCheck>>;

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
    int64_t compute_ns = 0;  // its share of the batches'
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
  // Does a slice, in the process's turn; returns how long it took.
  //   step  returns a Status, and may throw std::bad_alloc
  absl::StatusOr<std::chrono::nanoseconds> Slice(
      absl::FunctionRef<absl::Status()> step);
  static absl::Status NoMemory();
  // Whether a sound is there that needs the tower.
  bool busy() const { return !clips_.empty() || !live_.empty(); }
  // Lets the tower rest where nothing needs it any more.
  void MayRest();

  // --- Files
  bool ClipHasWork() const;
  void ReadFirst();
  void TakeSamples(const SoundSamples& read);
  void AdvanceClip();
  void FinishFirst(const absl::StatusOr<kernels::Tensor>& rows);

  // --- Live sounds
  // With the rows that are due (OpenSound::wants_rows).
  SoundTaken Taken(Live& live) const;
  // Whether a batch has more to do, or can begin.
  bool LiveHasWork() const;
  // Whether so little of the sound waits that its client may send more.
  bool HasRoom(const Live& live) const;
  // Takes the live sounds that have something to do into a batch, if any has.
  void BeginBatch();
  // The next slice of the batch; begins one where there is none.
  void AdvanceBatch();
  // Answers who waits for a sound that has come so far.
  void AnswerLive(SoundId id);
  void Fail(SoundId id, const absl::Status& status);
  void Remove(SoundId id);

  LocalAudioActor::pointer self_;
  AudioActorConfig config_;
  SoundWindow window_;
  SoundReaderActor reader_;
  SoundMeasuring measuring_;
  LazyTower<kernels::audio::AudioTower> tower_;
  MediaJobs<Clip> clips_;  // the first is being read or encoded
  std::map<SoundId, Live> live_;
  // Of live sounds, while it has more to do; and those of them that are still
  // wanted.
  std::unique_ptr<kernels::audio::AudioBatch> batch_;
  std::vector<SoundId> in_batch_;
  size_t slices_of_batches_ = 0;  // since the files had one
  bool armed_ = false;
  AudioStatus counters_;
};

// Computes: spawn it detached.
LocalAudioActor::behavior_type Audio(
    LocalAudioActor::stateful_pointer<AudioActorState> self,
    AudioActorConfig config);

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::NextSoundSlice)

#endif  // LAPIDARY_ACTORS_AUDIO_H_
