// The fuzz target without a fuzzer: files of every kind, and seeded damage to
// them. With a folder as its argument it writes the files there, for libFuzzer.
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/fuzz/damage.h"
#include "tests/fuzz/sound_fuzz.h"
#include "tests/support/sound_files.h"

namespace lapidary {
namespace {

constexpr int kDamagesPerFile = 200;

std::vector<std::string> Corpus() {
  std::vector<std::string> files;
  std::mt19937 random(1);
  for (const int channels : {1, 2}) {
    std::vector<float> frames(2000 * channels);
    for (float& v : frames) {
      v = static_cast<float>(random()) / 4294967296.0f - 0.5f;
    }
    for (const int format :
         {SF_FORMAT_WAV | SF_FORMAT_PCM_16, SF_FORMAT_WAV | SF_FORMAT_FLOAT,
          SF_FORMAT_WAV | SF_FORMAT_ULAW, SF_FORMAT_WAV | SF_FORMAT_IMA_ADPCM,
          SF_FORMAT_WAV | SF_FORMAT_MS_ADPCM, SF_FORMAT_RF64 | SF_FORMAT_PCM_24,
          SF_FORMAT_WAVEX | SF_FORMAT_PCM_32, SF_FORMAT_FLAC | SF_FORMAT_PCM_16,
          SF_FORMAT_OGG | SF_FORMAT_VORBIS, SF_FORMAT_OGG | SF_FORMAT_OPUS,
          SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III}) {
      files.push_back(MakeSoundFile(format, 16000, channels, frames));
    }
  }
  return files;
}

bool Try(const std::string& bytes) {
  return DecodeAndMel(reinterpret_cast<const uint8_t*>(bytes.data()),
                      bytes.size());
}

TEST(SoundCorpus, Files_Decode) {
  for (const std::string& file : Corpus()) EXPECT_TRUE(Try(file));
}

TEST(SoundCorpus, MendedOgg_Decodes) {
  std::string ogg = MakeSoundFile(SF_FORMAT_OGG | SF_FORMAT_VORBIS, 16000, 1,
                                  std::vector<float>(2000, 0.1f));
  ogg[24] ^= 1;  // in the first page's checksum
  EXPECT_FALSE(Try(ogg));
  MendOggChecksums(reinterpret_cast<uint8_t*>(ogg.data()), ogg.size());
  EXPECT_TRUE(Try(ogg));
}

TEST(SoundCorpus, DamagedFiles_AreSoundsOrErrors) {
  std::mt19937 random(1);
  int sounds = 0;
  int errors = 0;
  for (const std::string& file : Corpus()) {
    for (int i = 0; i < kDamagesPerFile; ++i) {
      std::string damaged = file;
      Damage(&random, /*header=*/200, &damaged);
      if (i % 2 == 0) {
        MendOggChecksums(reinterpret_cast<uint8_t*>(damaged.data()),
                         damaged.size());
      }
      ++(Try(damaged) ? sounds : errors);
    }
  }
  EXPECT_GT(sounds, 100);
  EXPECT_GT(errors, 1000);
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc < 2) return RUN_ALL_TESTS();
  int number = 0;
  for (const std::string& file : lapidary::Corpus()) {
    std::ofstream(absl::StrCat(argv[1], "/sound", number++)) << file;
  }
  return 0;
}
