// What the tower promises whoever owns it: slices, sizes, threads, memory.
#include "kernels/vision/tower.h"

#include <dirent.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/parallel.h"
#include "tests/support/vision_golden.h"

namespace lapidary {
namespace {

using kernels::ConstMatrixView;
using kernels::DType;
using kernels::vision::VisionTower;
using kernels::vision::VisionTowerOptions;
using kernels::vision::VisionWeights;
using testing::HasSubstr;

std::vector<float> Values(ConstMatrixView view) {
  return std::vector<float>(view.data, view.data + view.rows * view.cols);
}

// Threads of this process.
int Threads() {
  int count = 0;
  DIR* folder = ::opendir("/proc/self/task");
  if (folder == nullptr) return 0;
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] != '.') ++count;
  }
  ::closedir(folder);
  return count;
}

class VisionTowerTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    const auto weights =
        PackAndLoadTower(dir_, ReadVisionGolden("every_block"), GetParam());
    ASSERT_TRUE(weights.ok()) << weights.status();
    weights_ = *weights;
    kernels::SetComputeThreads(2);
  }

  std::vector<float> Encode(VisionTower* tower, int64_t height, int64_t width) {
    const auto pixels = GoldenPixels(height, width);
    EXPECT_TRUE(tower->Encode(height, width, pixels.data()).ok());
    return Values(tower->soft_tokens());
  }

  TempDir dir_;
  std::shared_ptr<const VisionWeights> weights_;
};

INSTANTIATE_TEST_SUITE_P(Types, VisionTowerTest,
                         testing::Values(DType::kF32, DType::kBf16));

TEST_P(VisionTowerTest, SmallSlices_EqualLargeOnes) {
  VisionTowerOptions small, large;
  small.step_macs = 1;
  large.step_macs = int64_t{1} << 40;
  VisionTower slow(weights_, small), fast(weights_, large);
  const auto want = Encode(&fast, 96, 96);
  const auto pixels = GoldenPixels(96, 96);
  ASSERT_TRUE(slow.Start(96, 96, pixels.data()).ok());
  int steps = 1;
  while (slow.Step()) ++steps;
  EXPECT_FALSE(slow.Step());
  EXPECT_EQ(Values(slow.soft_tokens()), want);
  EXPECT_GT(steps, 40);
}

TEST_P(VisionTowerTest, Threads_ChangeNothing) {
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 2, 5}) {
    kernels::SetComputeThreads(threads);
    VisionTower tower(weights_);
    results.push_back(Encode(&tower, 128, 96));
  }
  EXPECT_EQ(results[1], results[0]);
  EXPECT_EQ(results[2], results[0]);
}

TEST_P(VisionTowerTest, NothingIsLeftOfTheImageBefore) {
  VisionTower tower(weights_);
  const auto want = Encode(&tower, 96, 64);
  Encode(&tower, 100, 76);
  EXPECT_EQ(Encode(&tower, 96, 64), want);
  // Given up midway.
  const std::vector<float> white(96 * 64 * 3, 1.0f);
  ASSERT_TRUE(tower.Start(96, 64, white.data()).ok());
  for (int i = 0; i < 5; ++i) tower.Step();
  EXPECT_EQ(Encode(&tower, 96, 64), want);
}

TEST_P(VisionTowerTest, TheSmallestImage_HasItsTokens) {
  VisionTower tower(weights_);
  for (const float value : Encode(&tower, 1, 1)) {
    ASSERT_TRUE(std::isfinite(value));
  }
  EXPECT_EQ(tower.soft_tokens().rows, 4);
}

TEST_P(VisionTowerTest, ImpossibleSizes_AreNamed) {
  VisionTower tower(weights_);
  const float pixel = 0;
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{0, 8},
                                      {8, -1},
                                      {5000, 8},
                                      {8, int64_t{1} << 40}}) {
    const absl::Status status = tower.Start(height, width, &pixel);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("4096"));
  }
}

// oneDNN's own threads, OpenMP's, would spin beside ours.
TEST_P(VisionTowerTest, NoThreadsButTheTeams) {
  kernels::RunTeam([](int, int) {});
  const int before = Threads();
  VisionTower tower(weights_);
  Encode(&tower, 96, 96);
  EXPECT_EQ(Threads(), before);
}

// Which lane does which tile, and so which lane's memory grows, is chance.
TEST_P(VisionTowerTest, Memory_IsThatOfTheFirstImage) {
  VisionTower tower(weights_);
  EXPECT_EQ(tower.ActivationBytes(), 0u);
  Encode(&tower, 96, 96);
  const size_t bytes = tower.ActivationBytes();
  EXPECT_GT(bytes, 96u * 96u);
  for (int i = 0; i < 3; ++i) Encode(&tower, 96, 96);
  EXPECT_LE(tower.ActivationBytes(), bytes + bytes / 4);
}

}  // namespace
}  // namespace lapidary
