#include "tests/fuzz/sound_fuzz.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/audio/mel.h"
#include "storage/sound_decoder.h"

namespace lapidary {
namespace {

// Small, for many inputs a second.
SoundLimits FuzzLimits() {
  SoundLimits limits;
  limits.max_bytes = 1 << 20;
  limits.max_seconds = 2;
  return limits;
}

void Require(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

void CheckMel(const std::vector<float>& samples) {
  static const kernels::audio::MelConfig* const config =
      new kernels::audio::MelConfig;
  static const kernels::audio::MelFrontEnd* const mel =
      new kernels::audio::MelFrontEnd(*config);
  kernels::Scratch scratch;
  std::vector<float> row(config->feature_size);
  const int64_t frames =
      config->FramesBefore(static_cast<int64_t>(samples.size()));
  // Some of them: each takes ten microseconds.
  const int64_t step = std::max<int64_t>(1, frames / 8);
  const auto floor = static_cast<float>(std::log(config->mel_floor));
  for (int64_t m = 0; m < frames; m += step) {
    mel->Frame(&samples[m * config->hop_length], row.data(), &scratch);
    for (const float v : row) {
      Require(v >= floor && v < 100, "a mel value is a number above the floor");
    }
  }
}

void CheckSound(const absl::StatusOr<Sound>& sound) {
  if (!sound.ok()) {
    Require(!sound.status().message().empty(), "an error says what is wrong");
    Require(absl::IsInvalidArgument(sound.status()),
            "bad input is INVALID_ARGUMENT");
    return;
  }
  Require(!sound->samples.empty(), "a sound has samples");
  Require(sound->seconds() <= FuzzLimits().max_seconds + 1e-3,
          "a sound is within the limits");
  CheckMel(sound->samples);
}

}  // namespace

bool DecodeAndMel(const uint8_t* data, size_t size) {
  const SoundLimits limits = FuzzLimits();
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto sound = DecodeSound(bytes, limits);
  CheckSound(sound);
  // Raw too: other formats for other inputs, the same for the same.
  PcmFormat format;
  format.encoding =
      size % 2 == 0 ? PcmFormat::Encoding::kF32 : PcmFormat::Encoding::kS16;
  format.rate = size % 3 == 0 ? 48000 : 16000;
  format.channels = 1 + static_cast<int>(size % 4);
  CheckSound(DecodePcm(bytes, format, limits));
  return sound.ok();
}

void MendOggChecksums(uint8_t* data, size_t size) {
  size_t at = 0;
  while (size - at >= 27 && std::memcmp(data + at, "OggS", 4) == 0) {
    size_t length = 27 + size_t{data[at + 26]};
    if (length > size - at) return;
    for (size_t i = 0; i < data[at + 26]; ++i) length += data[at + 27 + i];
    if (length > size - at) return;
    std::memset(data + at + 22, 0, 4);
    uint32_t sum = 0;
    for (size_t i = 0; i < length; ++i) {
      sum ^= uint32_t{data[at + i]} << 24;
      for (int bit = 0; bit < 8; ++bit) {
        sum = (sum & 0x80000000u) != 0 ? (sum << 1) ^ 0x04C11DB7u : sum << 1;
      }
    }
    for (int i = 0; i < 4; ++i) {
      data[at + 22 + i] = static_cast<uint8_t>(sum >> (8 * i));
    }
    at += length;
  }
}

}  // namespace lapidary
