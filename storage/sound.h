// A decoded sound, and how long one may be.
#ifndef LAPIDARY_STORAGE_SOUND_H_
#define LAPIDARY_STORAGE_SOUND_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace lapidary {

// What the audio tower takes.
inline constexpr int kSoundRate = 16000;

// Samples beyond this are no sound, whatever full scale they mean.
inline constexpr float kMaxSample = 1e6f;

struct Sound {
  std::vector<float> samples;  // kSoundRate, mono, full scale 1
  // Of the file that it came from.
  int rate = 0;
  int channels = 0;
  std::string format;  // "WAV", "FLAC", "Ogg Vorbis", "Ogg Opus", "MP3", "PCM"

  double seconds() const {
    return static_cast<double>(samples.size()) / kSoundRate;
  }
};

// Held against the file's own header before anything is decoded, and again
// while it is: headers lie.
struct SoundLimits {
  size_t max_bytes = size_t{64} << 20;  // of the encoded file
  double max_seconds = 30 * 60;
  int max_channels = 8;
  int min_rate = 4000, max_rate = 192000;
};

// Samples without a header, as a client says they are; little-endian.
struct PcmFormat {
  enum class Encoding : uint8_t { kS16, kF32 };
  Encoding encoding = Encoding::kS16;
  int rate = kSoundRate;
  int channels = 1;  // interleaved

  size_t frame_bytes() const {
    return channels * (encoding == Encoding::kS16 ? 2 : 4);
  }
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_SOUND_H_
