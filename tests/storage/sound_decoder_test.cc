// Sound files of all kinds, whole and spoilt.
#include "storage/sound_decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/sound_files.h"

namespace lapidary {
namespace {

using testing::HasSubstr;

constexpr int kWav = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
constexpr int kWavFloat = SF_FORMAT_WAV | SF_FORMAT_FLOAT;
constexpr int kFlac = SF_FORMAT_FLAC | SF_FORMAT_PCM_16;
constexpr int kVorbis = SF_FORMAT_OGG | SF_FORMAT_VORBIS;
constexpr int kOpus = SF_FORMAT_OGG | SF_FORMAT_OPUS;
constexpr int kMp3 = SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III;

// A tone of 440 Hz in every channel, softer from channel to channel.
std::vector<float> Tone(int rate, int channels, double seconds) {
  const auto count = static_cast<size_t>(rate * seconds);
  std::vector<float> frames(count * channels);
  for (size_t i = 0; i < frames.size(); ++i) {
    const double t = static_cast<double>(i / channels) / rate;
    frames[i] = static_cast<float>(0.5 * std::sin(2 * M_PI * 440 * t) /
                                   (1.0 + static_cast<double>(i % channels)));
  }
  return frames;
}

// Correlation with the tone that it should be, at the best of some shifts, and
// the ratio of amplitudes.
void ExpectTone(const Sound& sound, double amplitude, double tolerance) {
  double best = 0;
  const size_t n = sound.samples.size();
  double energy = 0;
  for (const float s : sound.samples) energy += static_cast<double>(s) * s;
  for (int part = 0; part < 64; ++part) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
      sum += sound.samples[i] *
             std::sin(2 * M_PI *
                      (440.0 * static_cast<double>(i) / 16000 + part / 64.0));
    }
    best = std::max(best, sum);
  }
  const double half = static_cast<double>(n) / 2;
  EXPECT_NEAR(best / half, amplitude, tolerance);
  EXPECT_NEAR(std::sqrt(energy / half), amplitude, tolerance);
}

struct FileCase {
  const char* name;
  int format, rate, channels;
  double tolerance;
};

class SoundFileTest : public testing::TestWithParam<FileCase> {};

TEST_P(SoundFileTest, IsDecodedToMono16kHz) {
  const FileCase c = GetParam();
  const std::string bytes = MakeSoundFile(c.format, c.rate, c.channels,
                                          Tone(c.rate, c.channels, 1.0));
  const auto sound = DecodeSound(bytes, SoundLimits());
  ASSERT_TRUE(sound.ok()) << sound.status();
  EXPECT_EQ(sound->format, c.name);
  EXPECT_EQ(sound->rate, c.rate);
  EXPECT_EQ(sound->channels, c.channels);
  // An MP3's encoder pads.
  const double spare = c.format == kMp3 ? 3000 : 1;
  EXPECT_NEAR(static_cast<double>(sound->samples.size()), 16000, spare);
  double amplitude = 0;
  for (int i = 1; i <= c.channels; ++i) amplitude += 0.5 / i / c.channels;
  ExpectTone(*sound, amplitude, c.tolerance);
}

INSTANTIATE_TEST_SUITE_P(
    Formats, SoundFileTest,
    testing::Values(
        FileCase{"WAV", kWav, 16000, 1, 1e-3},
        FileCase{"WAV", kWav, 8000, 1, 5e-3},
        FileCase{"WAV", kWav, 44100, 2, 5e-3},
        FileCase{"WAV", kWav, 192000, 8, 5e-3},
        FileCase{"WAV", kWavFloat, 48000, 1, 5e-3},
        FileCase{"WAV", SF_FORMAT_WAV | SF_FORMAT_PCM_24, 22050, 1, 5e-3},
        FileCase{"WAV", SF_FORMAT_WAV | SF_FORMAT_PCM_U8, 16000, 1, 5e-3},
        FileCase{"WAV", SF_FORMAT_WAV | SF_FORMAT_ULAW, 8000, 1, 1e-2},
        FileCase{"WAV", SF_FORMAT_WAVEX | SF_FORMAT_PCM_16, 16000, 2, 1e-3},
        FileCase{"WAV", SF_FORMAT_RF64 | SF_FORMAT_PCM_16, 16000, 1, 1e-3},
        FileCase{"FLAC", kFlac, 16000, 1, 1e-3},
        FileCase{"FLAC", kFlac, 96000, 2, 5e-3},
        FileCase{"Ogg Vorbis", kVorbis, 44100, 2, 2e-2},
        FileCase{"Ogg Opus", kOpus, 48000, 1, 3e-2},
        FileCase{"Ogg Opus", kOpus, 16000, 1, 3e-2},
        FileCase{"MP3", kMp3, 44100, 1, 5e-2}));

std::string ErrorOf(const absl::StatusOr<Sound>& sound) {
  EXPECT_EQ(sound.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(sound.status().message());
}

std::string DecodeError(const std::string& bytes,
                        const SoundLimits& limits = {}) {
  return ErrorOf(DecodeSound(bytes, limits));
}

void PutWord(std::string* bytes, size_t at, uint32_t word) {
  for (int i = 0; i < 4; ++i) {
    (*bytes)[at + i] = static_cast<char>((word >> (8 * i)) & 0xFF);
  }
}

TEST(SoundDecoder, OtherFiles_AreNamed) {
  EXPECT_THAT(DecodeError(""), HasSubstr("no bytes"));
  EXPECT_THAT(DecodeError("hello"), HasSubstr("68656c6c6f"));
  EXPECT_THAT(DecodeError("\x89PNG\r\n\x1a\n......"), HasSubstr("PNG image"));
  EXPECT_THAT(DecodeError(std::string("\0\0\0\x20"
                                      "ftypM4A ",
                                      12)),
              HasSubstr("M4A"));
  EXPECT_THAT(DecodeError("UklGRiQAAABXQVZF"), HasSubstr("base64"));
  const std::string aiff = MakeSoundFile(SF_FORMAT_AIFF | SF_FORMAT_PCM_16,
                                         16000, 1, Tone(16000, 1, 0.1));
  EXPECT_THAT(DecodeError(aiff), HasSubstr("AIFF"));
}

TEST(SoundDecoder, NoSamples_IsSaid) {
  for (const int format : {kWav, kFlac}) {
    const std::string empty = MakeSoundFile(format, 16000, 1, {});
    EXPECT_FALSE(DecodeError(empty).empty());
  }
  EXPECT_THAT(DecodeError(MakeSoundFile(kWav, 16000, 1, {})),
              HasSubstr("no samples"));
}

TEST(SoundDecoder, TwentySamples_AreTwenty) {
  const auto sound = DecodeSound(
      MakeSoundFile(kWav, 16000, 1, std::vector<float>(20, 0.5f)), {});
  ASSERT_TRUE(sound.ok()) << sound.status();
  EXPECT_EQ(sound->samples, std::vector<float>(20, 0.5f));
}

TEST(SoundDecoder, Truncated_IsRefusedOrShorter) {
  for (const int format : {kWav, kFlac, kVorbis, kOpus}) {
    const std::string bytes =
        MakeSoundFile(format, 48000, 1, Tone(48000, 1, 1.0));
    std::mt19937 random(1);
    for (int i = 0; i < 40; ++i) {
      const size_t size = random() % bytes.size();
      const auto sound = DecodeSound(bytes.substr(0, size), SoundLimits());
      // Between two pages an Ogg file may end.
      if (sound.ok()) {
        EXPECT_TRUE(format == kVorbis || format == kOpus) << size;
        EXPECT_LT(sound->samples.size(), 16000u);
      }
    }
  }
}

TEST(SoundDecoder, DamagedOggPage_IsRefused) {
  std::string bytes = MakeSoundFile(kVorbis, 16000, 1, Tone(16000, 1, 1.0));
  bytes[bytes.size() / 2] ^= 0x10;
  EXPECT_THAT(DecodeError(bytes), HasSubstr("checksum"));
}

TEST(SoundDecoder, DamagedFlacFrame_IsRefused) {
  std::string bytes = MakeSoundFile(kFlac, 16000, 1, Tone(16000, 1, 3.0));
  for (size_t at = bytes.size() / 2; at < bytes.size() / 2 + 64; ++at) {
    bytes[at] = static_cast<char>(~bytes[at]);
  }
  EXPECT_FALSE(DecodeError(bytes).empty());
}

TEST(SoundDecoder, AnyDamage_IsAnErrorOrASoundWithinLimits) {
  std::mt19937 random(2);
  SoundLimits limits;
  limits.max_seconds = 10;
  for (const int format : {kWav, kWavFloat, kFlac, kVorbis, kOpus, kMp3}) {
    const std::string whole =
        MakeSoundFile(format, 16000, 2, Tone(16000, 2, 0.5));
    for (int i = 0; i < 200; ++i) {
      std::string bytes = whole;
      for (uint32_t hits = 1 + random() % 4; hits > 0; --hits) {
        const size_t reach = random() % 2 == 0 ? 200 : bytes.size();
        bytes[random() % std::min(reach, bytes.size())] =
            static_cast<char>(random());
      }
      const auto sound = DecodeSound(bytes, limits);
      if (!sound.ok()) continue;
      EXPECT_LE(sound->seconds(), 10.001);
      for (const float s : sound->samples) ASSERT_TRUE(std::isfinite(s));
    }
  }
}

TEST(SoundDecoder, TooLong_IsSaidByTheHeader) {
  SoundLimits limits;
  limits.max_seconds = 30;
  const std::string bytes =
      MakeSoundFile(kFlac, 8000, 1, std::vector<float>(8 * 60 * 8000));
  EXPECT_THAT(DecodeError(bytes, limits), HasSubstr("the limit is 30 s"));
}

// STREAMINFO's 36 bits of samples say 1 s; frames go on for 60.
TEST(SoundDecoder, LyingHeader_IsFoundOutWhileDecoding) {
  SoundLimits limits;
  limits.max_seconds = 30;
  std::string bytes = MakeSoundFile(kFlac, 16000, 1, Tone(16000, 1, 60.0));
  bytes[8 + 13] &= static_cast<char>(0xF0);
  PutWord(&bytes, 8 + 14, 0);
  EXPECT_FALSE(DecodeError(bytes, limits).empty());
}

TEST(SoundDecoder, BadRateAndChannels_AreNamed) {
  std::string bytes = MakeSoundFile(kWav, 16000, 1, Tone(16000, 1, 0.1));
  std::string rate = bytes;
  PutWord(&rate, 24, 1000);
  EXPECT_THAT(DecodeError(rate), HasSubstr("1000 samples a second"));
  PutWord(&rate, 24, 1'000'000);
  EXPECT_THAT(DecodeError(rate), HasSubstr("1000000 samples a second"));
  SoundLimits limits;
  limits.max_channels = 1;
  EXPECT_THAT(
      DecodeError(MakeSoundFile(kWav, 16000, 2, Tone(16000, 2, 0.1)), limits),
      HasSubstr("2 channels"));
  limits.max_bytes = 100;
  EXPECT_THAT(DecodeError(bytes, limits), HasSubstr("the limit is 100"));
}

TEST(SoundDecoder, NotNumbers_AreRefused) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(), 1e30f}) {
    std::vector<float> frames = Tone(16000, 1, 0.1);
    frames[777] = bad;
    EXPECT_THAT(DecodeError(MakeSoundFile(kWavFloat, 16000, 1, frames)),
                HasSubstr("sample 777"));
  }
}

TEST(SoundDecoder, PipedWav_WithoutSizes_IsTaken) {
  std::string bytes = MakeSoundFile(kWav, 16000, 1, Tone(16000, 1, 0.25));
  PutWord(&bytes, 4, 0xFFFFFFFFu);
  PutWord(&bytes, 40, 0xFFFFFFFFu);
  ASSERT_EQ(bytes.substr(36, 4), "data");
  const auto sound = DecodeSound(bytes, SoundLimits());
  ASSERT_TRUE(sound.ok()) << sound.status();
  EXPECT_EQ(sound->samples.size(), 4000u);
}

std::string Pcm16(const std::vector<float>& frames) {
  std::string bytes;
  for (const float v : frames) {
    const auto s = static_cast<int16_t>(std::lround(v * 32768));
    bytes.push_back(static_cast<char>(s & 0xFF));
    bytes.push_back(static_cast<char>((s >> 8) & 0xFF));
  }
  return bytes;
}

TEST(PcmStream, EqualsTheWavOfTheSameSamples) {
  for (const int rate : {8000, 16000, 44100, 48000}) {
    const std::vector<float> frames = Tone(rate, 2, 1.0);
    const auto wav =
        DecodeSound(MakeSoundFile(kWav, rate, 2, frames), SoundLimits());
    const auto pcm = DecodePcm(
        Pcm16(frames), {PcmFormat::Encoding::kS16, rate, 2}, SoundLimits());
    ASSERT_TRUE(wav.ok()) << wav.status();
    ASSERT_TRUE(pcm.ok()) << pcm.status();
    ASSERT_EQ(wav->samples.size(), pcm->samples.size());
    for (size_t i = 0; i < wav->samples.size(); ++i) {
      ASSERT_NEAR(wav->samples[i], pcm->samples[i], 1e-4) << i;
    }
  }
}

TEST(PcmStream, AnyPieces_GiveTheSameSamples) {
  std::mt19937 random(3);
  const std::vector<float> frames = Tone(44100, 2, 1.0);
  const std::string bytes = Pcm16(frames);
  const PcmFormat format = {PcmFormat::Encoding::kS16, 44100, 2};
  const auto whole = DecodePcm(bytes, format, SoundLimits());
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->samples.size(), 16000u);
  for (int round = 0; round < 20; ++round) {
    auto stream = PcmStream::Open(format, SoundLimits());
    ASSERT_TRUE(stream.ok()) << stream.status();
    std::vector<float> samples;
    for (size_t at = 0; at < bytes.size();) {
      const size_t count = 1 + random() % (round < 10 ? 50 : 20000);
      ASSERT_TRUE((*stream)->Push(bytes.substr(at, count), &samples).ok());
      at += count;
    }
    ASSERT_TRUE((*stream)->Finish(&samples).ok());
    ASSERT_EQ(samples, whole->samples);
    EXPECT_EQ((*stream)->frames(), 44100);
  }
}

TEST(PcmStream, Float_AsItIs) {
  const std::vector<float> frames = {0.0f, 1.0f, -0.25f, 3.5f};
  std::string bytes(frames.size() * 4, '\0');
  std::memcpy(bytes.data(), frames.data(), bytes.size());
  const auto sound =
      DecodePcm(bytes, {PcmFormat::Encoding::kF32, 16000, 1}, SoundLimits());
  ASSERT_TRUE(sound.ok()) << sound.status();
  EXPECT_EQ(sound->samples, frames);
}

TEST(PcmStream, ItsErrors_SpeakOfNoFile) {
  const PcmFormat floats = {PcmFormat::Encoding::kF32, 16000, 1};
  const float bad = std::numeric_limits<float>::quiet_NaN();
  const std::string no_number(reinterpret_cast<const char*>(&bad), sizeof bad);
  for (const std::string& bytes : {no_number, std::string("abc")}) {
    const std::string error = ErrorOf(DecodePcm(bytes, floats, SoundLimits()));
    EXPECT_THAT(error, HasSubstr("PCM sound"));
    EXPECT_THAT(error, HasSubstr("the stream's samples"));
    EXPECT_THAT(error, testing::Not(HasSubstr("file")));
  }
}

TEST(PcmStream, HalfAFrame_TooLong_AndNoSamples_AreErrors) {
  const PcmFormat stereo = {PcmFormat::Encoding::kS16, 16000, 2};
  EXPECT_THAT(ErrorOf(DecodePcm("abc", stereo, SoundLimits())),
              HasSubstr("3 bytes are left over"));
  EXPECT_THAT(ErrorOf(DecodePcm("", stereo, SoundLimits())),
              HasSubstr("no samples"));
  SoundLimits limits;
  limits.max_seconds = 0.5;
  EXPECT_THAT(ErrorOf(DecodePcm(std::string(64000, '\0'), stereo, limits)),
              HasSubstr("the limit is 0.5 s"));
  EXPECT_THAT(ErrorOf(DecodePcm("abcd", {PcmFormat::Encoding::kS16, 16000, 0},
                                SoundLimits())),
              HasSubstr("0 channels"));
  EXPECT_THAT(ErrorOf(DecodePcm("abcd", {PcmFormat::Encoding::kS16, 0, 1},
                                SoundLimits())),
              HasSubstr("0 samples a second"));
}

}  // namespace
}  // namespace lapidary
