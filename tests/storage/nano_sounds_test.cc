// nano's sounds from their files to soft tokens, against Hugging Face's
// (tests/goldens/nano, in float64).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/audio/tower.h"
#include "storage/json.h"
#include "storage/packed_model.h"
#include "storage/safetensors.h"
#include "storage/sound_decoder.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"
#include "tests/support/vision_golden.h"

namespace lapidary {
namespace {

using kernels::ConstMatrixView;
using kernels::audio::AudioState;
using kernels::audio::AudioTower;

constexpr char kGoldens[] = "tests/goldens/nano/";

std::vector<std::string> Sounds(const Json& messages) {
  std::vector<std::string> files;
  for (const Json& message : messages) {
    if (!message.at("content").is_array()) continue;
    for (const Json& part : message.at("content")) {
      if (part.at("type") == "audio") files.push_back(part.at("file"));
    }
  }
  return files;
}

TEST(NanoSounds, SoftTokens_EqualHuggingFace) {
  const TempDir dir;
  const auto packed =
      PackFolder(dir, "deploy/models/nano", kernels::DType::kF32);
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto model = PackedModel::Open(*packed, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE((*model)->has_audio_tower());
  EXPECT_GT((*model)->audio_bytes(), 0u);
  const auto weights = (*model)->LoadAudio();
  ASSERT_TRUE(weights.ok()) << weights.status();
  AudioTower tower(*weights);
  const auto goldens =
      SafetensorsFile::Open(absl::StrCat(kGoldens, "soft_tokens.safetensors"));
  ASSERT_TRUE(goldens.ok()) << goldens.status();
  const auto json =
      ParseJson(ReadBytes(absl::StrCat(kGoldens, "media.json")), "media.json");
  ASSERT_TRUE(json.ok()) << json.status();
  int sounds = 0;
  for (const auto& [name, each] : json->at("cases").items()) {
    const std::vector<std::string> files = Sounds(each.at("messages"));
    // Hugging Face pads the shorter clip of two with silence, which its last
    // tokens hear (gemma3n-audio.md §4.2); here each is encoded alone.
    if (files.size() != 1) continue;
    const std::vector<float> want =
        ReadGoldenValues(**goldens, name + ".audio");
    const auto sound = DecodeSound(
        ReadBytes(absl::StrCat(kGoldens, "media/", files[0])), SoundLimits());
    ASSERT_TRUE(sound.ok()) << sound.status();
    AudioState clip(&tower);
    ASSERT_TRUE(clip.Push(sound->samples.data(), sound->samples.size()).ok());
    clip.Finish();
    while (clip.Step()) {
    }
    const ConstMatrixView got = clip.soft_tokens();
    ASSERT_EQ(got.rows * got.cols, static_cast<int64_t>(want.size())) << name;
    double largest = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_FALSE(std::isnan(got.data[i]));
      largest = std::max<double>(largest, std::fabs(got.data[i] - want[i]));
    }
    // Tokens have a root mean square of 1.
    EXPECT_LE(largest, 1e-4) << name;
    std::printf("%s %s: max |d| %.1e\n", name.c_str(), files[0].c_str(),
                largest);
    ++sounds;
  }
  EXPECT_EQ(sounds, 4);
}

}  // namespace
}  // namespace lapidary
