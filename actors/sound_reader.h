// Decodes sound files, on a thread of its own: for actors that must not be held
// up by it.
#ifndef LAPIDARY_ACTORS_SOUND_READER_H_
#define LAPIDARY_ACTORS_SOUND_READER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "caf/all.hpp"
#include "storage/sound.h"

namespace lapidary {

struct ReadSound {
  std::shared_ptr<const std::string> file;
  bool only_measure = false;
};

struct SoundSamples {
  absl::Status status;  // does not name the sound
  int32_t windows = 1;
  int64_t count = 0;                            // samples
  std::shared_ptr<std::vector<float>> samples;  // the receiver's to take
};

using SoundReaderActor =
    caf::typed_actor<caf::replies_to<ReadSound>::with<SoundSamples>>;

// Spawn it detached.
//   window_samples  SoundWindow::samples
SoundReaderActor::behavior_type SoundReader(SoundReaderActor::pointer self,
                                            SoundLimits limits,
                                            int64_t window_samples);

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ReadSound)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::SoundSamples)

#endif  // LAPIDARY_ACTORS_SOUND_READER_H_
