// Who gets in and when: the queue, pages, deadlines.
#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/actors/sequencer_fixture.h"

namespace lapidary {
namespace {

TEST_F(SequencerTest, QueueIsBoundedAndServedInOrder) {
  config_.max_running = 1;
  Start();
  HoldSteps();
  for (SequenceId id : {1, 2, 3, 4, 5, 6}) SendAndRun(Request(id, 4, 1));
  for (SequenceId id : {1, 2, 3, 4}) {
    EXPECT_TRUE(seen_->accepted[id].ok()) << id;
  }
  for (SequenceId id : {5, 6}) {
    EXPECT_EQ(seen_->accepted[id].code(), absl::StatusCode::kResourceExhausted);
  }
  while (!seen_->unanswered.empty()) AnswerStep();
  EXPECT_EQ(seen_->end_order, std::vector<SequenceId>({1, 2, 3, 4}));
}

TEST_F(SequencerTest, WaitsForPagesInOrder) {
  Start();
  HoldSteps();
  SendAndRun(Request(1, 60 * 64, 60));  // 61 pages of 100
  SendAndRun(Request(2, 60 * 64, 60));  // must wait
  SendAndRun(Request(3, 4, 1));         // behind it, although it would fit
  EXPECT_EQ(RowsOf(seen_->steps.back()).count(3), 0u);
  caf::anon_send(client_, Cancel{1, false});
  sched_.run();
  while (seen_->ended.count(3) == 0) AnswerStep();
  EXPECT_EQ(seen_->ended[1].status.code(), absl::StatusCode::kCancelled);
  // The pages were given back before the step that needs them.
  const auto release =
      std::find(seen_->stage_log.begin(), seen_->stage_log.end(), "release 1");
  EXPECT_EQ(std::count(seen_->stage_log.begin(), release, "step"), 1);
}

TEST_F(SequencerTest, NeverFitsIsRefusedWithTheNumbers) {
  Start();
  SendAndRun(Request(1, 101 * 64, 1));
  EXPECT_EQ(seen_->accepted[1].code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(seen_->accepted[1].message().find("101 pages"),
            absl::string_view::npos)
      << seen_->accepted[1];
}

TEST_F(SequencerTest, DeadlinesEndWaitingAndRunningSequences) {
  config_.max_running = 1;
  Start();
  HoldSteps();
  Submit running = Request(1, 4, 20);
  running.deadline_ns = 2000000000;
  Submit waiting = Request(2, 4, 20);
  waiting.deadline_ns = 1000000000;
  Submit limited = Request(3, 4, 20);
  limited.time_limit_ns = 3000000000;
  for (const Submit& submit : {running, waiting, limited}) SendAndRun(submit);
  sched_.advance_time(std::chrono::milliseconds(999));
  sched_.run();
  EXPECT_TRUE(seen_->ended.empty());
  sched_.advance_time(std::chrono::milliseconds(2));
  sched_.run();
  EXPECT_EQ(seen_->ended.count(2), 1u);
  sched_.advance_time(std::chrono::seconds(1));
  sched_.run();
  EXPECT_EQ(seen_->ended[1].status.code(), absl::StatusCode::kDeadlineExceeded);
  sched_.advance_time(std::chrono::seconds(1));
  sched_.run();
  EXPECT_EQ(seen_->ended[3].reason, EndReason::kTimeLimit);
  EXPECT_TRUE(seen_->ended[3].status.ok());
}

}  // namespace
}  // namespace lapidary
