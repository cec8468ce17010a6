#include "actors/step_clock.h"

#include "gtest/gtest.h"

namespace lapidary {
namespace {

StepClock::Time At(int64_t nanoseconds) {
  return StepClock::Time(std::chrono::nanoseconds(nanoseconds));
}

StepResult Computed(int64_t nanoseconds) {
  StepResult result;
  result.compute_ns = nanoseconds;
  result.times = {nanoseconds - 4, 1, 2, 1};
  return result;
}

TEST(StepClockTest, WaitRoundTripAndComputeAreAddedUp) {
  StepClock clock;
  clock.Batch(true, At(100));
  clock.Sent(1, false, At(130));
  clock.Done(Computed(50), At(190));
  clock.Sent(2, false, At(200));
  clock.Done(Computed(60), At(270));
  const StepTotals& totals = clock.decode_steps();
  EXPECT_EQ(totals.steps, 2u);
  EXPECT_EQ(totals.rows, 3u);
  EXPECT_EQ(totals.wait_ns, 30 + 10);
  EXPECT_EQ(totals.round_trip_ns, 60 + 70);
  EXPECT_EQ(totals.compute_ns, 50 + 60);
  EXPECT_EQ(totals.stage.gemm_ns, 46 + 56);
  EXPECT_EQ(totals.stage.attention_ns, 2);
  EXPECT_EQ(totals.stage.head_ns, 4);
  EXPECT_EQ(totals.stage.sampling_ns, 2);
  EXPECT_EQ(clock.prompt_steps().steps, 0u);
}

TEST(StepClockTest, StepsWithPromptRowsAreKeptApart) {
  StepClock clock;
  clock.Sent(16, true, At(0));
  clock.Done(Computed(50), At(60));
  clock.Sent(1, false, At(60));
  clock.Done(Computed(5), At(70));
  EXPECT_EQ(clock.prompt_steps().rows, 16u);
  EXPECT_EQ(clock.prompt_steps().compute_ns, 50);
  EXPECT_EQ(clock.decode_steps().rows, 1u);
  EXPECT_EQ(clock.decode_steps().compute_ns, 5);
}

TEST(StepClockTest, TimeWithoutASequenceIsNoWaiting) {
  StepClock clock;
  clock.Batch(true, At(0));
  clock.Sent(1, false, At(0));
  clock.Done(Computed(5), At(10));
  clock.Batch(false, At(11));
  clock.Batch(true, At(1000));
  clock.Batch(true, At(1005));  // still waiting since 1000
  clock.Sent(1, false, At(1010));
  clock.Done(Computed(5), At(1020));
  EXPECT_EQ(clock.decode_steps().wait_ns, 10);
}

TEST(StepClockTest, ALostStepIsNotCounted) {
  StepClock clock;
  clock.Sent(1, false, At(0));
  clock.Lost();
  clock.Done(Computed(5), At(10));
  EXPECT_EQ(clock.decode_steps().steps, 0u);
}

}  // namespace
}  // namespace lapidary
