#include "storage/sound_windows.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

constexpr int64_t kWindow = 480000;  // 30 s

// Loud, but for 300 ms from each of `quiet` on.
std::vector<float> Sound(int64_t samples, std::vector<int64_t> quiet) {
  std::vector<float> sound(samples);
  for (int64_t i = 0; i < samples; ++i) sound[i] = i % 7 < 3 ? 0.3f : -0.2f;
  for (const int64_t at : quiet) {
    for (int64_t i = at; i < at + 4800 && i < samples; ++i) sound[i] = 0.001f;
  }
  return sound;
}

TEST(SoundWindowsTest, WhatFitsOneWindow_IsNotCut) {
  EXPECT_EQ(CountWindows({}, kWindow), 1);
  EXPECT_EQ(CountWindows(Sound(1, {}), kWindow), 1);
  EXPECT_EQ(CountWindows(Sound(kWindow, {410000, 470000}), kWindow), 1);
}

TEST(SoundWindowsTest, WhatDoesNot_HasAsManyAsItNeeds) {
  EXPECT_EQ(CountWindows(Sound(kWindow + 1, {}), kWindow), 2);
  EXPECT_EQ(CountWindows(Sound(2 * kWindow, {}), kWindow), 2);
  // Cut at 26 s, so that the rest no longer fits the second.
  EXPECT_EQ(CountWindows(Sound(2 * kWindow, {416000}), kWindow), 3);
  EXPECT_EQ(CountWindows(std::vector<float>(2 * kWindow, 0.0f), kWindow), 3);
}

int64_t FirstCut(const std::vector<float>& sound) {
  QuietMoment moment(kWindow);
  while (moment.next() <= kWindow && !moment.IsHere()) {
    moment.Take({sound.data() + moment.samples(),
                 static_cast<size_t>(moment.next() - moment.samples())});
  }
  return moment.IsHere() ? moment.samples() : -1;
}

TEST(SoundWindowsTest, TheCutIsInTheFirstQuietMomentOfTheLastSixth) {
  const int64_t cut = FirstCut(Sound(kWindow, {100000, 420000, 450000}));
  EXPECT_GT(cut, 420000 + 3000);
  EXPECT_LE(cut, 420000 + 4800);
  EXPECT_EQ(FirstCut(Sound(kWindow, {100000, 380000})), -1);
}

TEST(SoundWindowsTest, HowSamplesCome_ChangesNothing) {
  const std::vector<float> sound = Sound(kWindow, {431000});
  QuietMoment moment(kWindow);
  int64_t piece = 1;
  while (moment.next() <= kWindow && !moment.IsHere()) {
    piece = piece * 5 % 317 + 1;
    const int64_t count = std::min(piece, moment.next() - moment.samples());
    moment.Take({sound.data() + moment.samples(), static_cast<size_t>(count)});
  }
  EXPECT_EQ(moment.samples(), FirstCut(sound));
}

TEST(SoundWindowsTest, LongestWindow_GivesAsManyTokensAsThereArePlaces) {
  kernels::audio::AudioConfig config;
  EXPECT_EQ(LongestWindow(config, 188), config.mel.max_samples);
  const int64_t window = LongestWindow(config, 32);
  EXPECT_EQ(config.SoftTokens(window), 32);
  EXPECT_EQ(config.SoftTokens(window + 1), 33);
}

}  // namespace
}  // namespace lapidary
