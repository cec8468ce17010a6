#include "actors/door.h"

#include <chrono>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lapidary {
namespace {

using testing::HasSubstr;

constexpr int64_t kMs = 1000000;

Needs Small() {
  Needs needs;
  needs.positions = 100;
  needs.pages = 2;
  return needs;
}

// A node with all places taken, nobody waiting; a place comes free every
// 100 ms, a prompt takes 200 ms (150 ms alone), a token 10 ms.
Inside Busy() {
  Inside inside;
  inside.idle = false;
  inside.max_waiting = 8;
  inside.place_interval_ns = 100.0 * kMs;
  inside.prompts_ns = 200.0 * kMs;
  inside.alone_ns = 150.0 * kMs;
  inside.token_ns = 10.0 * kMs;
  inside.alone_token_ns = 8.0 * kMs;
  inside.pages_total = 10;
  inside.page_bytes = 4096;
  return inside;
}

TEST(DoorTest, WithoutADeadlineAFreePlaceInTheQueueIsEnough) {
  Door door;
  EXPECT_TRUE(door.Check(Small(), Busy()).status.ok());
}

TEST(DoorTest, WhatNeverFitsIsNotToComeBack) {
  Door door;
  Needs needs = Small();
  needs.pages = 11;
  const Refusal refusal = door.Check(needs, Busy());
  EXPECT_EQ(refusal.reason, RefusalReason::kTooLarge);
  EXPECT_EQ(refusal.retry_after_ns, kNeverRetry);
  EXPECT_EQ(refusal.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refusal.status.message()), HasSubstr("11 pages"));
}

TEST(DoorTest, AFullQueueTellsEachToComeAPlaceLater) {
  Door door;
  Inside inside = Busy();
  inside.waiting = 8;
  const Refusal first = door.Check(Small(), inside);
  EXPECT_EQ(first.reason, RefusalReason::kQueueFull);
  EXPECT_EQ(first.retry_after_ns, 100 * kMs);
  EXPECT_THAT(std::string(first.status.message()),
              HasSubstr("try again in 100 ms"));
  EXPECT_EQ(door.Check(Small(), inside).retry_after_ns, 200 * kMs);
  EXPECT_EQ(door.Check(Small(), inside).retry_after_ns, 300 * kMs);
  door.Freed();
  door.Freed();
  EXPECT_EQ(door.Check(Small(), inside).retry_after_ns, 200 * kMs);
}

TEST(DoorTest, HintsAreBounded) {
  Door door;
  Inside inside = Busy();
  inside.waiting = 8;
  inside.place_interval_ns = 1;
  EXPECT_EQ(door.Check(Small(), inside).retry_after_ns, 50 * kMs);
  inside.place_interval_ns = 1e12;
  EXPECT_EQ(door.Check(Small(), inside).retry_after_ns, 60000 * kMs);
  inside.place_interval_ns = 0;  // not known
  EXPECT_GT(door.Check(Small(), inside).retry_after_ns, 0);
}

TEST(DoorTest, ADeadlineThatTheQueueEatsUpIsRefusedWithWhatIsMissing) {
  Door door;
  Inside inside = Busy();
  inside.waiting = inside.ahead = 4;
  Needs needs = Small();
  needs.deadline_ns = 701 * kMs;  // 5 places and the prompts: 700 ms
  EXPECT_TRUE(door.Check(needs, inside).status.ok());
  needs.deadline_ns = 400 * kMs;
  const Refusal refusal = door.Check(needs, inside);
  EXPECT_EQ(refusal.reason, RefusalReason::kDeadline);
  EXPECT_EQ(refusal.retry_after_ns, 300 * kMs);
  EXPECT_EQ(refusal.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refusal.status.message()), HasSubstr("700 ms"));
}

TEST(DoorTest, WhoStandsAheadCountsNotWhoWaits) {
  Door door;
  Inside inside = Busy();
  inside.waiting = 7;
  inside.ahead = 0;  // a high priority
  Needs needs = Small();
  needs.deadline_ns = 301 * kMs;
  EXPECT_TRUE(door.Check(needs, inside).status.ok());
}

TEST(DoorTest, FreePlacesAreNotWaitedFor) {
  Door door;
  Inside inside = Busy();
  inside.places = 1;
  Needs needs = Small();
  needs.deadline_ns = 201 * kMs;
  EXPECT_TRUE(door.Check(needs, inside).status.ok());
  needs.deadline_ns = 199 * kMs;
  EXPECT_FALSE(door.Check(needs, inside).status.ok());
}

TEST(DoorTest, AnAnswerOfCertainLengthMustBeDoneInTime) {
  Door door;
  Inside inside = Busy();
  inside.places = 1;
  Needs needs = Small();
  needs.deadline_ns = 1000 * kMs;
  needs.min_tokens = 81;  // 200 + 80 × 10 ms
  EXPECT_TRUE(door.Check(needs, inside).status.ok());
  needs.min_tokens = 82;
  const Refusal refusal = door.Check(needs, inside);
  EXPECT_EQ(refusal.reason, RefusalReason::kDeadline);
  // 150 + 81 × 8 ms: it would do if nobody else were there.
  EXPECT_GT(refusal.retry_after_ns, 0);
}

TEST(DoorTest, ATimeLimitNeedsABeginningOnly) {
  Door door;
  Inside inside = Busy();
  inside.places = 1;
  Needs needs = Small();
  needs.time_limit_ns = 250 * kMs;
  needs.min_tokens = 1000;
  EXPECT_TRUE(door.Check(needs, inside).status.ok());
  needs.time_limit_ns = 150 * kMs;
  EXPECT_EQ(door.Check(needs, inside).reason, RefusalReason::kDeadline);
}

TEST(DoorTest, WaitingDoesNotHelpWhatIsTooLongByItself) {
  Door door;
  Inside inside = Busy();
  inside.places = 1;
  Needs needs = Small();
  needs.deadline_ns = 100 * kMs;
  const Refusal refusal = door.Check(needs, inside);
  EXPECT_EQ(refusal.retry_after_ns, kNeverRetry);
  EXPECT_THAT(std::string(refusal.status.message()),
              HasSubstr("give it more time"));
}

TEST(DoorTest, AnIdleNodeTriesWhateverItsCosts) {
  Door door;
  Inside inside = Busy();
  inside.idle = true;
  inside.places = 4;
  Needs needs = Small();
  needs.deadline_ns = 1;
  EXPECT_TRUE(door.Check(needs, inside).status.ok());
}

TEST(DoorTest, NothingIsRefusedForWhatIsNotKnown) {
  Door door;
  Inside inside = Busy();
  inside.place_interval_ns = inside.prompts_ns = inside.alone_ns =
      inside.token_ns = 0;
  inside.ahead = inside.waiting = 7;
  Needs needs = Small();
  needs.deadline_ns = 1;
  needs.min_tokens = 1000;
  EXPECT_TRUE(door.Check(needs, inside).status.ok());
}

Turnover::Time At(int ms) {
  return Turnover::Time(std::chrono::milliseconds(1000 + ms));
}

TEST(TurnoverTest, IsTheMeanTimeBetweenPlacesWhileRequestsWait) {
  Turnover turnover;
  EXPECT_EQ(turnover.interval_ns(), 0);
  turnover.Freed(At(0));  // nobody waits: it could have been filled before
  EXPECT_EQ(turnover.interval_ns(), 0);
  turnover.Waiting(true, At(0));
  turnover.Freed(At(100));
  EXPECT_EQ(turnover.interval_ns(), 100e6);
  turnover.Waiting(true, At(100));
  turnover.Freed(At(400));
  turnover.Freed(At(400));  // in the same step
  turnover.Freed(At(400));
  EXPECT_EQ(turnover.interval_ns(), 100e6);
}

TEST(TurnoverTest, AnIdleTimeIsNotCounted) {
  Turnover turnover;
  turnover.Waiting(true, At(0));
  turnover.Freed(At(100));
  turnover.Waiting(false, At(100));
  turnover.Waiting(true, At(100000));
  turnover.Freed(At(100050));
  EXPECT_EQ(turnover.interval_ns(), 50e6);
}

TEST(TurnoverTest, FollowsTheLastPlaces) {
  Turnover turnover;
  turnover.Waiting(true, At(0));
  for (int i = 1; i <= 100; ++i) turnover.Freed(At(i * 100));
  for (int i = 1; i <= 32; ++i) turnover.Freed(At(10000 + i * 10));
  EXPECT_EQ(turnover.interval_ns(), 10e6);
}

}  // namespace
}  // namespace lapidary
