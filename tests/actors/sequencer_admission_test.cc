// Who gets in and when: the queue, pages, priorities, deadlines.
#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
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
    EXPECT_GT(seen_->retry_after_ns[id], 0);
  }
  EXPECT_EQ(Status().refused, 2u);
  EXPECT_EQ(Status().schedule.refused_queue_full, 2u);
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

TEST_F(SequencerTest, PriorityDecidesWhoIsNext) {
  config_.max_running = 1;
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 1));
  for (auto [id, priority] :
       {std::pair(2, Priority::kLow), std::pair(3, Priority::kNormal),
        std::pair(4, Priority::kHigh)}) {
    Submit submit = Request(id, 4, 1);
    submit.priority = priority;
    SendAndRun(submit);
  }
  const ScheduleStatus schedule = Status().schedule;
  EXPECT_EQ(schedule.queued_low, 1);
  EXPECT_EQ(schedule.queued_normal, 1);
  EXPECT_EQ(schedule.queued_high, 1);
  while (!seen_->unanswered.empty()) AnswerStep();
  EXPECT_EQ(seen_->end_order, std::vector<SequenceId>({1, 4, 3, 2}));
}

TEST_F(SequencerTest, LowPriorityThatHasWaitedIsOvertakenByNobody) {
  config_.max_running = 1;
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 1));
  Submit low = Request(2, 4, 1);
  low.priority = Priority::kLow;
  SendAndRun(low);
  sched_.advance_time(std::chrono::seconds(21));
  Submit high = Request(3, 4, 1);
  high.priority = Priority::kHigh;
  SendAndRun(high);
  while (!seen_->unanswered.empty()) AnswerStep();
  EXPECT_EQ(seen_->end_order, std::vector<SequenceId>({1, 2, 3}));
}

TEST_F(SequencerTest, PriorityGivesAPromptMoreRows) {
  config_.batch.max_rows = 112;
  Start();
  HoldSteps();
  SendAndRun(Request(1, 1000, 1));  // holds the step while the others come
  for (auto [id, priority] :
       {std::pair(2, Priority::kLow), std::pair(3, Priority::kNormal),
        std::pair(4, Priority::kHigh)}) {
    Submit submit = Request(id, 300, 1);
    submit.priority = priority;
    Send(submit);
  }
  caf::anon_send(client_, Cancel{1, false});
  sched_.run();
  AnswerStep();
  EXPECT_EQ(RowsOf(seen_->steps.back()), RowMap({{2, 16}, {3, 32}, {4, 64}}));
}

// Four answers that go on, and costs that are known.
class BusySequencerTest : public SequencerTest {
 protected:
  void SetUp() override {
    config_.batch.max_rows = 512;
    Start();
    HoldSteps();
    SendAndRun(Request(1, 256, 500));
    for (SequenceId id : {2, 3, 4}) SendAndRun(Request(id, 4, 500));
    for (int i = 0; i < 10; ++i) AnswerTimedStep();
    SendAndRun(Request(5, 256, 1));
    while (seen_->ended.count(5) == 0) AnswerTimedStep();
  }
};

TEST_F(BusySequencerTest, KnowsWhatStepsCost) {
  const ScheduleStatus schedule = Status().schedule;
  EXPECT_EQ(schedule.decode_step_ns, 60e6);
  EXPECT_EQ(schedule.prompt_row_ns, 1e6);
  EXPECT_EQ(schedule.prompt_row_alone_ns, 1e6);
  EXPECT_EQ(schedule.prompt_rows, 60);
}

TEST_F(BusySequencerTest, APromptThatCannotBeReadInTimeIsRefusedAtOnce) {
  Submit submit = Request(6, 2000, 100);
  submit.deadline_ns = 3000000000;  // 2 s of rows, in half of the time
  SendAndRun(submit);
  EXPECT_EQ(seen_->accepted[6].code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GT(seen_->retry_after_ns[6], 0);
  EXPECT_EQ(Status().schedule.refused_deadline, 1u);
  submit.sequence = 7;
  submit.deadline_ns = 4100000000;
  SendAndRun(submit);
  EXPECT_TRUE(seen_->accepted[7].ok()) << seen_->accepted[7];
}

TEST_F(BusySequencerTest, AnAnswerOfCertainLengthMustBeDoneInTime) {
  Submit submit = Request(6, 32, 100);
  submit.deadline_ns = 2000000000;  // 100 tokens take 6 s
  SendAndRun(submit);
  EXPECT_TRUE(seen_->accepted[6].ok()) << seen_->accepted[6];
  caf::anon_send(client_, Cancel{6, false});
  submit.sequence = 7;
  submit.min_tokens = 100;
  SendAndRun(submit);
  EXPECT_EQ(seen_->accepted[7].code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(seen_->retry_after_ns[7], kNeverRetry);
}

TEST_F(BusySequencerTest, AnIdleNodeTriesWhateverItsCosts) {
  for (SequenceId id : {1, 2, 3, 4}) caf::anon_send(client_, Cancel{id, false});
  Submit submit = Request(6, 2000, 100);
  submit.deadline_ns = 100000000;
  SendAndRun(submit);
  EXPECT_TRUE(seen_->accepted[6].ok()) << seen_->accepted[6];
}

TEST_F(SequencerTest, ADeadlineThatTheQueueEatsUpIsRefused) {
  config_.max_running = 1;
  Start();
  HoldSteps();
  for (SequenceId id : {1, 2, 3}) SendAndRun(Request(id, 4, 1));
  for (int i = 0; i < 2; ++i) {  // a place comes free every second
    sched_.advance_time(std::chrono::seconds(1));
    AnswerStep();
  }
  SendAndRun(Request(4, 4, 1));
  Submit submit = Request(5, 4, 1);
  submit.deadline_ns = 1900000000;  // 4 stands ahead
  SendAndRun(submit);
  EXPECT_EQ(seen_->accepted[5].code(), absl::StatusCode::kResourceExhausted);
  submit.sequence = 6;
  submit.priority = Priority::kHigh;  // nobody does
  SendAndRun(submit);
  EXPECT_TRUE(seen_->accepted[6].ok()) << seen_->accepted[6];
}

TEST_F(SequencerTest, NeverFitsIsRefusedWithTheNumbers) {
  Start();
  SendAndRun(Request(1, 101 * 64, 1));
  EXPECT_EQ(seen_->accepted[1].code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(seen_->accepted[1].message().find("101 pages"),
            absl::string_view::npos)
      << seen_->accepted[1];
  EXPECT_EQ(seen_->retry_after_ns[1], kNeverRetry);
  EXPECT_EQ(Status().schedule.refused_too_large, 1u);
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
