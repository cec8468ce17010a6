#include "actors/sound_reader.h"

#include <new>
#include <utility>

#include "absl/strings/strip.h"
#include "storage/sound_decoder.h"
#include "storage/sound_windows.h"

namespace lapidary {
namespace {

SoundSamples Failed(const absl::Status& status) {
  SoundSamples answer;
  answer.status = status;
  return answer;
}

}  // namespace

SoundReaderActor::behavior_type SoundReader(SoundReaderActor::pointer,
                                            SoundLimits limits,
                                            int64_t window_samples) {
  return {
      [=](const ReadSound& read) -> SoundSamples {
        if (read.cancelled != nullptr && *read.cancelled) {
          return Failed(absl::CancelledError("nobody waits for it any more"));
        }
        try {
          absl::StatusOr<Sound> sound = DecodeSound(*read.file, limits);
          if (!sound.ok()) {
            // The asker names it by its field.
            return Failed(absl::Status(
                sound.status().code(),
                absl::StripPrefix(sound.status().message(), "sound: ")));
          }
          SoundSamples answer;
          answer.windows = static_cast<int32_t>(
              CountWindows(sound->samples, window_samples));
          answer.count = static_cast<int64_t>(sound->samples.size());
          if (!read.only_measure) {
            answer.samples =
                std::make_shared<std::vector<float>>(std::move(sound->samples));
          }
          return answer;
        } catch (const std::bad_alloc&) {
          return Failed(absl::ResourceExhaustedError(
              "no memory to decode the sound; send a shorter one"));
        }
      },
  };
}

}  // namespace lapidary
