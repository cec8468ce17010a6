// Interleaved frames at any rate to the samples that the audio tower takes.
#ifndef LAPIDARY_STORAGE_SOUND_RESAMPLER_H_
#define LAPIDARY_STORAGE_SOUND_RESAMPLER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/sound.h"

namespace lapidary {

// INVALID_ARGUMENT unless rate and channels lie within the limits.
absl::Status CheckSoundShape(absl::string_view format, int64_t rate,
                             int64_t channels, const SoundLimits& limits);

// INVALID_ARGUMENT for more frames than the limits allow at that rate.
absl::Status CheckSoundLength(absl::string_view format, int64_t frames,
                              int64_t rate, const SoundLimits& limits);

// The format of samples without a header, which are no file.
inline constexpr char kPcmName[] = "PCM";

// What decoders answer for a sound that they cannot read to its end.
absl::Status DamagedSound(absl::string_view format, absl::string_view what);

// Frames in, pieces of any size; samples out, of which some milliseconds stay
// behind until Finish.
class SoundResampler {
 public:
  // Errors: as CheckSoundShape; RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<SoundResampler>> Make(
      absl::string_view format, int64_t rate, int64_t channels,
      const SoundLimits& limits);
  ~SoundResampler();
  SoundResampler(const SoundResampler&) = delete;
  SoundResampler& operator=(const SoundResampler&) = delete;

  // Appends to `samples`. Errors: INVALID_ARGUMENT for what is no sample, and
  // as CheckSoundLength for all frames so far.
  //   frames  [count][channels]
  absl::Status Push(const float* frames, int64_t count,
                    std::vector<float>* samples);
  // Once, at the end: in all ceil(frames · 16000 / rate) samples.
  absl::Status Finish(std::vector<float>* samples);

  int64_t frames() const;

 private:
  struct Impl;
  explicit SoundResampler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// For a decoder that comes to know the format as it reads: makes the resampler
// at the first one, notes it in `sound`, whose `format` names the file, and
// refuses another that follows. Errors: those of Make, and DamagedSound.
absl::Status KeepSoundFormat(int64_t rate, int64_t channels,
                             const SoundLimits& limits,
                             std::unique_ptr<SoundResampler>* resampler,
                             Sound* sound);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_SOUND_RESAMPLER_H_
