// Sounds cut into windows and encoded as they come, with nano's tower.
#include "actors/sound_encoding.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "actors/audio.h"
#include "gtest/gtest.h"
#include "storage/packed_model.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

class SoundEncodingTest : public testing::Test {
 protected:
  SoundEncodingTest()
      : model_(*PackedModel::Open(PackedNano(), {})),
        window_(*SoundWindowOf(model_->config())),
        tower_(*model_->LoadAudio()) {}

  // Noise with pauses of 300 ms in it, of all loudnesses.
  std::vector<float> Sound(int64_t samples, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> noise(0.0f, 0.1f);
    std::vector<float> sound(samples);
    for (int64_t i = 0; i < samples; ++i) {
      const bool pause = (i + 3000 * int64_t{seed}) % 26000 < 4800;
      sound[i] = noise(random) * (pause ? 0.01f : 1.0f);
    }
    return sound;
  }

  kernels::Tensor Whole(const std::vector<float>& sound) {
    SoundEncoding encoding(&tower_, window_);
    encoding.PushAll(sound);
    while (!encoding.done()) EXPECT_TRUE(encoding.Step().ok());
    return *encoding.Rows();
  }

  // Pieces of random lengths, and some of the work between them.
  kernels::Tensor Live(const std::vector<float>& sound, std::mt19937& random) {
    SoundEncoding encoding(&tower_, window_);
    size_t at = 0;
    while (at < sound.size()) {
      const size_t piece = std::min<size_t>(
          sound.size() - at,
          random() % 2 == 0 ? 1 + random() % 300 : 1 + random() % 40000);
      encoding.Push({sound.data() + at, piece});
      at += piece;
      for (uint32_t steps = random() % 60; steps > 0; --steps) {
        if (!encoding.HasWork()) break;
        EXPECT_TRUE(encoding.Step().ok());
      }
    }
    encoding.Finish();
    while (!encoding.done()) EXPECT_TRUE(encoding.Step().ok());
    return *encoding.Rows();
  }

  std::unique_ptr<PackedModel> model_;
  SoundWindow window_;
  kernels::audio::AudioTower tower_;
};

TEST_F(SoundEncodingTest, LiveSound_GivesTheRowsOfTheWholeFile) {
  std::mt19937 random(5);
  const int64_t window = window_.samples;
  for (const int64_t samples :
       {int64_t{1}, int64_t{500}, int64_t{16000}, window - 1, window,
        window + 1, window + 9000, 3 * window + 77}) {
    for (uint32_t seed = 1; seed < 5; ++seed) {
      const std::vector<float> sound = Sound(samples, seed);
      const kernels::Tensor whole = Whole(sound);
      ASSERT_EQ(whole.dim(0), CountWindows(sound, window) * window_.rows());
      const kernels::Tensor live = Live(sound, random);
      ASSERT_EQ(live.shape(), whole.shape()) << samples << " " << seed;
      float worst = 0;
      for (int64_t i = 0; i < whole.elements(); ++i) {
        worst = std::max(
            worst, std::fabs(whole.data<float>()[i] - live.data<float>()[i]));
      }
      EXPECT_LE(worst, 1e-5) << samples << " " << seed;
    }
  }
}

TEST_F(SoundEncodingTest, PlacesWithoutSound_HoldThePaddingRow) {
  const kernels::Tensor rows = Whole(Sound(8000, 1));
  const int64_t width = rows.dim(1);
  std::vector<float> padding(width), end(width);
  EmbedHardToken(tower_.weights(), tower_.config().padding_row(),
                 padding.data());
  EmbedHardToken(tower_.weights(), window_.end_row, end.data());
  const auto row = [&](int64_t i) {
    const float* data = rows.data<float>() + i * width;
    return std::vector<float>(data, data + width);
  };
  const int64_t heard = tower_.config().SoftTokens(8000);
  EXPECT_NE(row(heard - 1), padding);
  for (int64_t i = heard; i < window_.soft_tokens; ++i) {
    EXPECT_EQ(row(i), padding);
  }
  EXPECT_EQ(row(window_.soft_tokens), end);
}

TEST_F(SoundEncodingTest, FewFrames_WaitForOthers) {
  SoundEncoding encoding(&tower_, window_);
  const std::vector<float> sound = Sound(6000, 1);
  encoding.Push(sound);
  EXPECT_FALSE(encoding.HasWork());
  encoding.Push(sound);
  EXPECT_TRUE(encoding.HasWork());
  while (encoding.HasWork()) ASSERT_TRUE(encoding.Step().ok());
  EXPECT_GT(encoding.tokens(), 0);
  EXPECT_LT(encoding.waiting_samples(), 8000);
  encoding.Finish();
  EXPECT_TRUE(encoding.HasWork());
}

}  // namespace
}  // namespace lapidary
