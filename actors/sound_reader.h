// Decodes sound files, on a thread of its own: for actors that must not be held
// up by it.
#ifndef LAPIDARY_ACTORS_SOUND_READER_H_
#define LAPIDARY_ACTORS_SOUND_READER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "actors/media_jobs.h"
#include "actors/messages_audio.h"
#include "caf/all.hpp"
#include "storage/sound.h"

namespace lapidary {

struct ReadSound {
  std::shared_ptr<const std::string> file;
  bool only_measure = false;
  std::shared_ptr<const std::atomic<bool>> cancelled;  // as EncodeImage's
};

struct SoundSamples {
  absl::Status status;  // does not name the sound
  int32_t windows = 1;
  int64_t count = 0;                            // samples
  std::shared_ptr<std::vector<float>> samples;  // the receiver's to take
};

using SoundReaderActor =
    caf::typed_actor<caf::replies_to<ReadSound>::with<SoundSamples>>;

// MeasureSound for an audio actor: bounded as its other files are, and nothing
// is read for nobody.
class SoundMeasuring {
 public:
  SoundMeasuring() = default;
  // With the actor: nobody else would answer those who wait.
  ~SoundMeasuring() {
    for (auto& [id, promise] : waiting_) {
      promise.deliver(MeasuredSound{
          absl::UnavailableError("the audio actor was lost; try again"), 1});
    }
  }
  SoundMeasuring(const SoundMeasuring&) = delete;
  SoundMeasuring& operator=(const SoundMeasuring&) = delete;

  template <class Self>
  caf::typed_response_promise<MeasuredSound> Ask(Self* self,
                                                 const SoundReaderActor& reader,
                                                 const MeasureSound& measure) {
    auto promise = self->template make_response_promise<MeasuredSound>();
    const size_t bytes = measure.file->size();
    if (waiting_.size() >= bounds_.max_files ||
        bytes_ + bytes > bounds_.max_bytes) {
      promise.deliver(
          MeasuredSound{absl::ResourceExhaustedError(absl::StrCat(
                            waiting_.size(), " sounds of ", bytes_,
                            " bytes wait to be read; try again later")),
                        1});
      return promise;
    }
    const uint64_t id = ++last_id_;
    waiting_.emplace(id, promise);
    bytes_ += bytes;
    const auto done = [this, id, bytes](const MeasuredSound& sound) {
      const auto at = waiting_.find(id);
      auto asked = at->second;
      waiting_.erase(at);
      bytes_ -= bytes;
      asked.deliver(sound);
    };
    self->request(reader, caf::infinite,
                  ReadSound{measure.file, true, measure.cancelled})
        .then(
            [done](const SoundSamples& read) {
              done({read.status, read.windows});
            },
            [done](caf::error&) {
              done({absl::InternalError("the sound was not read"), 1});
            });
    return promise;
  }

 private:
  const MediaBounds bounds_{};
  std::map<uint64_t, caf::typed_response_promise<MeasuredSound>> waiting_;
  uint64_t last_id_ = 0;
  size_t bytes_ = 0;
};

// Spawn it detached.
//   window_samples  SoundWindow::samples
SoundReaderActor::behavior_type SoundReader(SoundReaderActor::pointer self,
                                            SoundLimits limits,
                                            int64_t window_samples);

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::ReadSound)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::SoundSamples)

#endif  // LAPIDARY_ACTORS_SOUND_READER_H_
