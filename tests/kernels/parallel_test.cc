#include "kernels/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <thread>
#include <vector>

namespace lapidary::kernels {
namespace {

class ParallelTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { SetComputeThreads(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Threads, ParallelTest, testing::Values(1, 2, 3, 8));

TEST_P(ParallelTest, For_CallsEachIndexOnce) {
  for (int64_t count : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> calls(count);
    ParallelFor(count, [&](int64_t i) { ++calls[i]; });
    for (const auto& n : calls) ASSERT_EQ(n, 1) << count;
  }
}

TEST_P(ParallelTest, Tasks_CallEachIndexOnceByAThreadOfTheTeam) {
  for (int64_t count : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> calls(count);
    ParallelTasks(count, [&](int thread, int64_t i) {
      ASSERT_GE(thread, 0);
      ASSERT_LT(thread, GetParam());
      ++calls[i];
    });
    for (const auto& n : calls) ASSERT_EQ(n, 1) << count;
  }
}

TEST_P(ParallelTest, ChunksAndStripes_CallEachIndexOnce) {
  for (int64_t count : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> chunks(count), stripes(count);
    ParallelChunks(count, [&](int64_t i) { ++chunks[i]; });
    ParallelStripes(count, [&](int thread, int64_t i) {
      ASSERT_GE(thread, 0);
      ASSERT_LT(thread, GetParam());
      ++stripes[i];
    });
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_EQ(chunks[i], 1) << i << " of " << count;
      ASSERT_EQ(stripes[i], 1) << i << " of " << count;
    }
  }
}

// The first item of each waits for the others' first, so that nobody has time
// to help.
TEST_P(ParallelTest, Stripes_BeginWithAThreadsOwn) {
  std::vector<int64_t> first(GetParam(), -1);
  std::atomic<int> begun{0};
  ParallelStripes(100, [&](int thread, int64_t i) {
    if (first[thread] >= 0) return;
    first[thread] = i;
    ++begun;
    while (begun < GetParam()) std::this_thread::yield();
  });
  for (int thread = 0; thread < GetParam(); ++thread) {
    EXPECT_EQ(first[thread], thread);
  }
}

TEST_P(ParallelTest, Ranges_AreOnePieceAThreadAndMakeUpTheWhole) {
  std::atomic<int64_t> covered{0};
  std::atomic<int> pieces{0};
  ParallelRanges(1001, true, [&](int64_t first, int64_t last) {
    covered += last - first;
    ++pieces;
  });
  EXPECT_EQ(covered, 1001);
  EXPECT_EQ(pieces, GetParam());
}

TEST_P(ParallelTest, Team_SeesWhatTheCallerWroteAndGivesBackWhatItWrote) {
  std::vector<int64_t> numbers(100);
  for (int64_t turn = 0; turn < 500; ++turn) {
    for (auto& n : numbers) n = turn;
    ParallelFor(100, [&](int64_t i) { numbers[i] += i; });
    for (int64_t i = 0; i < 100; ++i) ASSERT_EQ(numbers[i], turn + i);
  }
}

TEST_P(ParallelTest, Team_WakesFromItsSleep) {
  for (int turn = 0; turn < 20; ++turn) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int> calls{0};
    RunTeam([&](int, int threads) {
      EXPECT_EQ(threads, GetParam());
      ++calls;
    });
    EXPECT_EQ(calls, GetParam());
  }
}

TEST_P(ParallelTest, CallFromInside_IsDoneAlone) {
  std::atomic<int> outer{0}, inner{0};
  RunTeam([&](int, int) {
    ++outer;
    RunTeam([&](int thread, int threads) {
      EXPECT_EQ(thread, 0);
      EXPECT_EQ(threads, 1);
      ++inner;
    });
  });
  EXPECT_EQ(inner, outer);
}

// One thread then does the shares of all.
TEST_P(ParallelTest, ChunksAndStripesFromInside_AreAllDone) {
  std::atomic<int64_t> chunks{0}, stripes{0}, outer{0};
  RunTeam([&](int, int) {
    ++outer;
    ParallelChunks(10, [&](int64_t i) { chunks += i; });
    ParallelStripes(10, [&](int thread, int64_t i) {
      EXPECT_EQ(thread, 0);
      stripes += i;
    });
  });
  EXPECT_EQ(chunks, 45 * outer);
  EXPECT_EQ(stripes, 45 * outer);
}

TEST_P(ParallelTest, WhatAnyThreadThrows_IsThrownAgainWhenAllAreDone) {
  for (int thrower = 0; thrower < GetParam(); ++thrower) {
    std::atomic<int> done{0};
    EXPECT_THROW(RunTeam([&](int thread, int) {
                   if (thread == thrower) throw std::bad_alloc();
                   ++done;
                 }),
                 std::bad_alloc);
    EXPECT_EQ(done, GetParam() - 1);
  }
  std::atomic<int> calls{0};
  RunTeam([&](int, int) { ++calls; });
  EXPECT_EQ(calls, GetParam());
}

TEST_P(ParallelTest, CallersAtOnce_AllGetTheirWorkDone) {
  std::vector<std::thread> callers;
  std::atomic<int64_t> sum{0};
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      SetComputeThreads(1 + caller);  // each its own wish
      for (int turn = 0; turn < 500; ++turn) {
        ParallelFor(10, [&](int64_t i) { sum += i; });
        ParallelChunks(10, [&](int64_t i) { sum += i; });
        ParallelStripes(10, [&](int /*thread*/, int64_t i) { sum += i; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 3 * 4 * 500 * 45);
}

}  // namespace
}  // namespace lapidary::kernels
