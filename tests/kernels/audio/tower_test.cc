// What the tower promises whoever owns it: the same numbers in any pieces,
// slices, several clips at once, limits.
#include "kernels/audio/tower.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/parallel.h"
#include "kernels/quant/product_kernels.h"
#include "tests/support/memory_tower.h"

namespace lapidary {
namespace {

using kernels::ConstMatrixView;
using kernels::DType;
using kernels::audio::AudioBatch;
using kernels::audio::AudioConfig;
using kernels::audio::AudioState;
using kernels::audio::AudioTower;
using kernels::audio::AudioTowerOptions;
using kernels::audio::AudioWeights;
using testing::HasSubstr;

std::vector<float> Tokens(const AudioState& clip) {
  const ConstMatrixView tokens = clip.soft_tokens();
  return std::vector<float>(tokens.data,
                            tokens.data + tokens.rows * tokens.cols);
}

void RunAll(AudioState* clip) {
  while (clip->Step()) {
  }
}

std::vector<float> EncodeWhole(AudioTower* tower,
                               const std::vector<float>& samples) {
  AudioState clip(tower);
  EXPECT_TRUE(clip.Push(samples.data(), samples.size()).ok());
  clip.Finish();
  RunAll(&clip);
  EXPECT_TRUE(clip.done());
  return Tokens(clip);
}

// Cut at random, with some steps after each piece, or none, or all.
std::vector<float> EncodeInPieces(AudioTower* tower,
                                  const std::vector<float>& samples,
                                  std::mt19937* random) {
  AudioState clip(tower);
  std::uniform_int_distribution<size_t> size(1, 1 + (*random)() % 12000);
  for (size_t at = 0; at < samples.size();) {
    const size_t count = std::min(size(*random), samples.size() - at);
    EXPECT_TRUE(clip.Push(&samples[at], count).ok());
    at += count;
    const uint32_t choice = (*random)() % 3;
    if (choice == 0) RunAll(&clip);
    if (choice == 1) {
      for (uint32_t steps = (*random)() % 40; steps > 0; --steps) clip.Step();
    }
  }
  clip.Finish();
  RunAll(&clip);
  EXPECT_TRUE(clip.done());
  return Tokens(clip);
}

double LargestDifference(const std::vector<float>& a,
                         const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double difference = std::fabs(a[i] - b[i]);
    // Not max, which a NaN would pass.
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

class AudioTowerTest : public testing::Test {
 protected:
  AudioTowerTest() : memory_(RealFrontAudioConfig()) {
    kernels::SetComputeThreads(1);
    memory_.DrawLikeTorch(0);
    memory_.MakeLively();
    memory_.FillEmbedder();
  }
  std::shared_ptr<const AudioWeights> Weights(DType dtype = DType::kF32) {
    const auto weights = memory_.Bind(dtype);
    EXPECT_TRUE(weights.ok()) << weights.status();
    return *weights;
  }
  MemoryTower memory_;
};

TEST_F(AudioTowerTest, AnyPieces_GiveTheNumbersOfTheWholeClip) {
  std::mt19937 random(7);
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kInt8}) {
    AudioTowerOptions options;
    options.step_macs = 1 << 20;
    AudioTower tower(Weights(dtype), options);
    double largest = 0;
    for (int round = 0; round < 100; ++round) {
      const size_t count = 1 + random() % (round % 10 == 0 ? 100000 : 25000);
      const std::vector<float> samples = NoiseSamples(round, count, 0.2);
      const std::vector<float> whole = EncodeWhole(&tower, samples);
      const std::vector<float> pieces =
          EncodeInPieces(&tower, samples, &random);
      largest = std::max(largest, LargestDifference(whole, pieces));
    }
    RecordProperty(NameOf(dtype), std::to_string(largest));
    std::printf("%s: max |whole - pieces| %.3g\n", NameOf(dtype), largest);
    EXPECT_LE(largest, dtype == DType::kInt8 ? 0.0 : 1e-5) << NameOf(dtype);
  }
}

TEST_F(AudioTowerTest, TokensAreThereAsSoonAsTheirSamplesAre) {
  AudioTower tower(Weights());
  AudioState clip(&tower);
  const std::vector<float> samples = NoiseSamples(3, 30000, 0.2);
  // gemma3n-audio.md §7.2: token k wants 2560 k + 1473 samples.
  for (int64_t at = 0; at + 137 <= 30000; at += 137) {
    ASSERT_TRUE(clip.Push(&samples[at], 137).ok());
    RunAll(&clip);
    const int64_t n = at + 137;
    EXPECT_EQ(clip.tokens(), n < 1473 ? 0 : (n - 1473) / 2560 + 1) << n;
    EXPECT_EQ(clip.waiting_frames(), 0);
  }
}

TEST_F(AudioTowerTest, ClipsThatTakeTurns_DoNotDisturbEachOther) {
  AudioTowerOptions options;
  options.step_macs = 1;
  AudioTower tower(Weights(), options);
  const std::vector<float> a = NoiseSamples(1, 20001, 0.2);
  const std::vector<float> b = NoiseSamples(2, 50000, 0.5);
  const std::vector<float> a_alone = EncodeWhole(&tower, a);
  const std::vector<float> b_alone = EncodeWhole(&tower, b);
  AudioState first(&tower), second(&tower);
  ASSERT_TRUE(first.Push(a.data(), a.size()).ok());
  ASSERT_TRUE(second.Push(b.data(), b.size()).ok());
  first.Finish();
  second.Finish();
  for (bool more = true; more;) {
    const bool one = first.Step();
    const bool two = second.Step();
    more = one || two;
  }
  EXPECT_EQ(Tokens(first), a_alone);
  EXPECT_EQ(Tokens(second), b_alone);
}

// Clips of a batch: of several lengths, with pieces of several sizes that come
// before, beside and behind others', some of which end earlier.
std::vector<std::vector<float>> EncodeTogether(
    AudioTower* tower, const std::vector<std::vector<float>>& sounds,
    std::mt19937& random) {
  std::vector<AudioState> clips;
  for (size_t i = 0; i < sounds.size(); ++i) clips.emplace_back(tower);
  std::vector<size_t> pushed(sounds.size());
  for (bool more = true; more;) {
    more = false;
    std::vector<AudioState*> batch;
    for (size_t i = 0; i < sounds.size(); ++i) {
      if (!clips[i].finished()) {
        const size_t left = sounds[i].size() - pushed[i];
        const size_t count = std::min<size_t>(left, random() % 12000);
        EXPECT_TRUE(clips[i].Push(sounds[i].data() + pushed[i], count).ok());
        pushed[i] += count;
        if (pushed[i] == sounds[i].size()) clips[i].Finish();
      }
      more = more || !clips[i].done();
      if (random() % 4 > 0) batch.push_back(&clips[i]);
    }
    AudioBatch together(tower, batch);
    while (together.Step()) {
    }
  }
  std::vector<std::vector<float>> tokens;
  for (const AudioState& clip : clips) tokens.push_back(Tokens(clip));
  return tokens;
}

TEST_F(AudioTowerTest, ClipsOfABatch_HaveTheNumbersThatEachHasAlone) {
  std::mt19937 random(11);
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kInt8}) {
    AudioTowerOptions options;
    options.step_macs = 1 << 20;
    AudioTower tower(Weights(dtype), options);
    for (int round = 0; round < 8; ++round) {
      std::vector<std::vector<float>> sounds;
      for (int i = 0; i < 1 + 3 * round; ++i) {
        sounds.push_back(
            NoiseSamples(100 * round + i, 1 + random() % 40000, 0.2));
      }
      const auto together = EncodeTogether(&tower, sounds, random);
      for (size_t i = 0; i < sounds.size(); ++i) {
        const auto alone = EncodeWhole(&tower, sounds[i]);
        EXPECT_LE(LargestDifference(alone, together[i]),
                  dtype == DType::kInt8 ? 0.0 : 1e-5)
            << NameOf(dtype) << " sound " << i << " of " << sounds.size();
      }
    }
  }
}

TEST_F(AudioTowerTest, AClipThatGoes_LeavesTheOthersOfItsBatchAsTheyWere) {
  int64_t tokens = 0;  // of all clips
  AudioTowerOptions options;
  options.step_macs = 1;
  options.on_part = [&](const std::string& part, int64_t /*first*/,
                        ConstMatrixView rows) {
    if (part == "embed_audio") tokens += rows.rows;
  };
  AudioTower tower(Weights(), options);
  const std::vector<float> a = NoiseSamples(1, 20001, 0.2);
  const std::vector<float> b = NoiseSamples(2, 30000, 0.5);
  AudioState stays(&tower);
  auto goes = std::make_unique<AudioState>(&tower);
  ASSERT_TRUE(stays.Push(a.data(), a.size()).ok());
  ASSERT_TRUE(goes->Push(b.data(), b.size()).ok());
  stays.Finish();
  AudioBatch batch(&tower, {&stays, goes.get()});
  for (int step = 0; step < 30; ++step) ASSERT_TRUE(batch.Step());
  EXPECT_EQ(stays.Fork().status().code(),
            absl::StatusCode::kFailedPrecondition);
  goes.reset();
  while (batch.Step()) {
  }
  EXPECT_TRUE(stays.done());
  EXPECT_EQ(tokens, stays.tokens());
  EXPECT_LE(LargestDifference(EncodeWhole(&tower, a), Tokens(stays)), 1e-5);
}

// Frames that go through the conformer together are shared by those who have
// some: weights are read again for each share.
TEST_F(AudioTowerTest, ALongClipAmongShortOnes_IsNotCutForThemOnceTheyAreDone) {
  std::vector<int64_t> shares;
  AudioTowerOptions options;
  options.on_part = [&](const std::string& part, int64_t /*first*/,
                        ConstMatrixView rows) {
    if (part == "sscp") shares.push_back(rows.rows);
  };
  AudioTower tower(Weights(), options);
  std::vector<AudioState> clips;
  std::vector<AudioState*> all;
  for (int i = 0; i < 32; ++i) clips.emplace_back(&tower);
  for (AudioState& clip : clips) {
    const bool is_long = all.empty();
    const std::vector<float> samples =
        NoiseSamples(1, is_long ? 100000 : 2000, 0.2);
    ASSERT_TRUE(clip.Push(samples.data(), samples.size()).ok());
    clip.Finish();
    all.push_back(&clip);
  }
  AudioBatch batch(&tower, all);
  while (batch.Step()) {
  }
  for (const AudioState& clip : clips) {
    EXPECT_TRUE(clip.done());
    EXPECT_EQ(clip.waiting_frames(), 0);
  }
  // The long one's second share is all that is left of it.
  ASSERT_EQ(shares.size(), clips.size() + 1);
  EXPECT_GT(shares.back(), 100);
}

TEST_F(AudioTowerTest, ThreadsChangeNothing) {
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kInt8}) {
    AudioTower tower(Weights(dtype));
    const std::vector<float> samples = NoiseSamples(4, 60000, 0.2);
    kernels::SetComputeThreads(1);
    const std::vector<float> one = EncodeWhole(&tower, samples);
    kernels::SetComputeThreads(3);
    const std::vector<float> three = EncodeWhole(&tower, samples);
    EXPECT_EQ(one, three) << NameOf(dtype);
  }
}

// Sizes that fill neither panels nor records, nor halves of a gate.
AudioConfig OddAudioConfig() {
  AudioConfig c = MiniAudioConfig();
  c.hidden_size = 150;
  c.conf_num_attention_heads = 3;
  c.text_hidden_size = 37;
  return c;
}

TEST(Int8AudioTowerTest, EveryKernelGivesTheSameNumbers) {
  for (const AudioConfig& config : {MiniAudioConfig(), OddAudioConfig()}) {
    MemoryTower memory(config);
    memory.DrawLikeTorch(0);
    memory.MakeLively();
    memory.FillEmbedder();
    const auto weights = memory.Bind(DType::kInt8);
    ASSERT_TRUE(weights.ok()) << weights.status();
    const std::vector<float> samples = NoiseSamples(9, 90000, 0.2);
    std::vector<float> first;
    for (const auto* kernels : kernels::UsableProductKernels()) {
      kernels::UseProductKernelsForTest(kernels);
      AudioTower tower(*weights);
      const std::vector<float> tokens = EncodeWhole(&tower, samples);
      std::vector<float> hard(config.text_hidden_size);
      EmbedHardToken(**weights, 1, hard.data());
      std::vector<float> all = tokens;
      all.insert(all.end(), hard.begin(), hard.end());
      if (first.empty()) first = all;
      EXPECT_EQ(all, first) << kernels->name;
    }
    kernels::UseProductKernelsForTest(kernels::UsableProductKernels()[0]);
  }
}

double Rms(const std::vector<float>& values) {
  double squares = 0;
  for (const float value : values) squares += value * value;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

TEST(Int8AudioTowerTest, IsNearF32_WhateverTheSizes) {
  for (const AudioConfig& config :
       {MiniAudioConfig(), OddAudioConfig(), RealFrontAudioConfig()}) {
    MemoryTower memory(config);
    memory.DrawLikeTorch(0);
    memory.FillEmbedder();
    const auto exact = memory.Bind(DType::kF32);
    const auto int8 = memory.Bind(DType::kInt8);
    ASSERT_TRUE(exact.ok() && int8.ok()) << exact.status() << int8.status();
    AudioTower exact_tower(*exact), int8_tower(*int8);
    const std::vector<float> samples = NoiseSamples(9, 90000, 0.2);
    const std::vector<float> want = EncodeWhole(&exact_tower, samples);
    std::vector<float> error = EncodeWhole(&int8_tower, samples);
    ASSERT_EQ(error.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) error[i] -= want[i];
    std::printf("%d wide: RMS of the error %.3g of %.3g\n",
                static_cast<int>(config.hidden_size), Rms(error), Rms(want));
    EXPECT_LE(Rms(error), 0.05 * Rms(want)) << config.hidden_size;
  }
}

TEST(Int8AudioTowerTest, WhatCannotBeInt8_IsNamed) {
  const MemoryTower memory(MiniAudioConfig());
  const std::string conv =
      "audio_tower.subsample_conv_projection.conv_1.conv.weight";
  const std::string positions =
      "audio_tower.conformer.1.attention.attn.relative_position_embedding."
      "pos_proj.weight";
  const std::string post = "audio_tower.conformer.1.attention.post.weight";
  for (const auto& [name, dtype] :
       std::vector<std::pair<std::string, DType>>{{conv, DType::kInt8},
                                                  {positions, DType::kInt8},
                                                  {post, DType::kInt4},
                                                  {post, DType::kF32}}) {
    const absl::Status status =
        memory.Bind(DType::kInt8, {{name, dtype}}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
    EXPECT_THAT(std::string(status.message()), HasSubstr("pack the model"));
  }
}

// gemma3n-audio.md §9: samples that come later change no token before.
TEST_F(AudioTowerTest, WhatComesLater_ChangesNoToken) {
  AudioTower tower(Weights());
  std::vector<float> samples = NoiseSamples(5, 30000, 0.2);
  const std::vector<float> before = EncodeWhole(&tower, samples);
  const int64_t k = 5, width = tower.config().text_hidden_size;
  for (size_t i = 2560 * k + 1472; i < samples.size(); ++i) samples[i] = 0.3f;
  std::vector<float> after = EncodeWhole(&tower, samples);
  ASSERT_EQ(before.size(), after.size());
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + (k + 1) * width,
                         after.begin()));
  EXPECT_FALSE(std::equal(before.begin(), before.end(), after.begin()));
}

TEST_F(AudioTowerTest, ShortAndEmptyClips) {
  AudioTower tower(Weights());
  for (const int64_t count : {0, 1, 20, 512}) {
    EXPECT_TRUE(EncodeWhole(&tower, std::vector<float>(count, 0.1f)).empty());
  }
  for (const int64_t count : {513, 640, 641, 2600}) {
    EXPECT_EQ(EncodeWhole(&tower, std::vector<float>(count, 0.1f)).size(),
              tower.config().text_hidden_size * 1u)
        << count;
  }
}

TEST_F(AudioTowerTest, Silence_IsFinite) {
  AudioTower tower(Weights());
  for (const float v : EncodeWhole(&tower, std::vector<float>(48000, 0.0f))) {
    ASSERT_TRUE(std::isfinite(v));
  }
}

TEST_F(AudioTowerTest, BadSamples_AreRefusedAndNotTaken) {
  AudioTower tower(Weights());
  AudioState clip(&tower);
  std::vector<float> samples = NoiseSamples(6, 3000, 0.2);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(), 2e6f}) {
    std::vector<float> spoilt = samples;
    spoilt[1234] = bad;
    const absl::Status status = clip.Push(spoilt.data(), spoilt.size());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("sample 1234"));
  }
  EXPECT_EQ(clip.samples(), 0);
  ASSERT_TRUE(clip.Push(samples.data(), samples.size()).ok());
  clip.Finish();
  RunAll(&clip);
  EXPECT_EQ(Tokens(clip), EncodeWhole(&tower, samples));
  EXPECT_EQ(clip.Push(samples.data(), 1).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(AudioTowerTest, LongerThanTheModelHears_IsRefused) {
  AudioTower tower(Weights());
  AudioState clip(&tower);
  const std::vector<float> samples(480000, 0.01f);
  ASSERT_TRUE(clip.Push(samples.data(), samples.size()).ok());
  const absl::Status status = clip.Push(samples.data(), 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(status.message()), HasSubstr("480000"));
  clip.Finish();
  RunAll(&clip);
  EXPECT_EQ(clip.tokens(), 188);
}

TEST_F(AudioTowerTest, BetweenBatches_OnlyHistoryIsKept) {
  AudioTower tower(Weights());
  AudioState clip(&tower);
  const std::vector<float> samples = NoiseSamples(8, 7680, 0.2);
  size_t first = 0;
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(clip.Push(samples.data(), samples.size()).ok());
    RunAll(&clip);
    const size_t bytes = clip.bytes() - Tokens(clip).capacity() * sizeof(float);
    if (i == 5) first = bytes;
    if (i > 5) {
      EXPECT_LE(bytes, first + first / 4) << i;
    }
  }
}

}  // namespace
}  // namespace lapidary
