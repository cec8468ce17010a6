// What crosses between the actor of a call and the audio actor. As messages.h,
// of which it is a part that few need.
//
//   client  EncodeSound                     ─► audio ─► EncodedMedium
//   client  MeasureSound                    ─► audio ─► MeasuredSound
//   client  OpenSound, PushSound…, EndSound ─► audio ─► SoundTaken…, LiveSound
#ifndef LAPIDARY_ACTORS_MESSAGES_AUDIO_H_
#define LAPIDARY_ACTORS_MESSAGES_AUDIO_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "actors/messages.h"
#include "caf/all.hpp"
#include "kernels/tensor.h"
#include "storage/sound.h"

namespace lapidary {

// A sound file as the client sent it; fields as EncodeImage's. Answered by
// EncodedMedium, with the rows of all its windows.
struct EncodeSound {
  std::shared_ptr<const std::string> file;
  std::shared_ptr<const std::atomic<bool>> cancelled;
  std::string key;
  std::string tower;  // PackedModel::audio_fingerprint, or empty
};

// Asks into how many windows a file will be cut: what is wrong with it is found
// here, before anything is computed.
struct MeasureSound {
  std::shared_ptr<const std::string> file;
  std::string key;
  std::shared_ptr<const std::atomic<bool>> cancelled;  // as EncodeImage's
};

struct MeasuredSound {
  absl::Status status;
  int32_t windows = 1;
};

// A sound that is encoded while it arrives. The client's side makes its number
// up; it goes when its client goes.
using SoundId = uint64_t;

inline constexpr double kMaxLiveSeconds = 600;

// Answered by SoundTaken.
struct OpenSound {
  SoundId sound = 0;
  PcmFormat format;
  double loud_db = -45;     // of full scale: what SoundTaken::loud_to counts
  std::string tower;        // as EncodeSound's
  bool wants_rows = false;  // SoundTaken::rows
};

// The next samples, cut anywhere. The answer comes when there is room for more:
// whoever waits for it before the next one makes the client wait.
struct PushSound {
  SoundId sound = 0;
  std::shared_ptr<const std::string> pcm;
};

struct SoundTaken {
  absl::Status status;  // not OK: the sound is gone
  int64_t samples = 0;  // so far, at kSoundRate
  int64_t waiting_samples = 0;
  int64_t tokens = 0;
  int64_t compute_ns = 0;
  // By 20 ms: where the newest loud moment ends; 0: there was none.
  int64_t loud_to = 0;
  // Soft tokens of the first window that are final, and new since the last
  // answer; f32 [tokens][hidden], empty for none. If the sound grows longer
  // than a window, LiveSound::rows may have others in their places.
  kernels::Tensor rows;
};

// The sound ends here.
struct EndSound {
  SoundId sound = 0;
};

struct LiveSound {
  absl::Status status;
  kernels::Tensor rows;  // of all windows; none where no sample came
  SoundTaken taken;
};

// Forgets the sound; unknown ones are ignored.
struct DropSound {
  SoundId sound = 0;
};

using AudioActor =
    caf::typed_actor<caf::replies_to<Start>::with<Started>,
                     caf::replies_to<EncodeSound>::with<EncodedMedium>,
                     caf::replies_to<MeasureSound>::with<MeasuredSound>,
                     caf::replies_to<OpenSound>::with<SoundTaken>,
                     caf::replies_to<PushSound>::with<SoundTaken>,
                     caf::replies_to<EndSound>::with<LiveSound>,
                     caf::reacts_to<DropSound>,
                     caf::replies_to<StatusQuery>::with<AudioStatus>>;

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::EncodeSound)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::MeasureSound)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::MeasuredSound)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::OpenSound)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::PushSound)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::SoundTaken)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::EndSound)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::LiveSound)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::DropSound)

#endif  // LAPIDARY_ACTORS_MESSAGES_AUDIO_H_
