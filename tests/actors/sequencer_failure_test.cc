// What ends a sequence early, and what that leaves behind: nothing.
#include <chrono>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/actors/sequencer_fixture.h"

namespace lapidary {
namespace {

TEST_F(SequencerTest, CancelEndsAtOnceAndFreesWithTheNextMessage) {
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 20));
  SendAndRun(Request(2, 4, 20));
  caf::anon_send(client_, Cancel{1, false});
  sched_.run();
  EXPECT_EQ(seen_->ended[1].status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(seen_->stage_log.back(), "release 1");
  AnswerStep();  // of the step that it was in: its token is nobody's
  EXPECT_EQ(seen_->tokens.count(1), 0u);
  EXPECT_EQ(RowsOf(seen_->steps.back()), RowMap({{2, 4}}));
}

TEST_F(SequencerTest, CompleteAnswersEndWithTheirStopString) {
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 20));
  AnswerStep();
  caf::anon_send(client_, Cancel{1, true});
  sched_.run();
  EXPECT_TRUE(seen_->ended[1].status.ok());
  EXPECT_EQ(seen_->ended[1].reason, EndReason::kStopString);
}

TEST_F(SequencerTest, ADamagedRowFailsItsOwnSequenceOnly) {
  Start();
  HoldSteps();
  for (SequenceId id : {1, 2}) Send(Request(id, 4, 5));
  sched_.run();
  AnswerStep();
  while (seen_->steps.back().sequences.size() < 2) AnswerStep();
  // The next token of one of them is the damaged one.
  StepResult result = lapidary::Answer(*seen_, seen_->steps.back());
  result.sequences[0].sampled->id = kBadRow;
  const SequenceId bad = result.sequences[0].sequence;
  const SequenceId good = result.sequences[1].sequence;
  AnswerStepWith(result);
  EXPECT_EQ(seen_->ended[bad].status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(seen_->ended[bad].status.message(), "row 666 is damaged");
  while (!seen_->unanswered.empty()) AnswerStep();
  EXPECT_EQ(seen_->ended[good].reason, EndReason::kMaxTokens);
}

// The two decode together; the first one's next row hangs.
class HangingRowTest : public SequencerTest {
 protected:
  static constexpr int32_t kHanging = 777;

  void SetUp() override {
    Start();
    HoldSteps();
    for (SequenceId id : {1, 2}) Send(Request(id, 4, 5));
    sched_.run();
    AnswerStep();
    while (seen_->steps.back().sequences.size() < 2) AnswerStep();
    seen_->hanging_rows = {kHanging};
    StepResult result = lapidary::Answer(*seen_, seen_->steps.back());
    result.sequences[0].sampled->id = kHanging;
    late_ = result.sequences[0].sequence;
    other_ = result.sequences[1].sequence;
    steps_before_ = seen_->steps.size();
    AnswerStepWith(result);
  }

  void LosePatience() {
    sched_.advance_time(config_.row_patience + std::chrono::milliseconds(1));
    sched_.run();
  }

  SequenceId late_ = 0, other_ = 0;
  size_t steps_before_ = 0;
};

TEST_F(HangingRowTest, HoldsUpItsOwnSequenceOnly) {
  EXPECT_EQ(seen_->steps.size(), steps_before_);  // it may come any moment
  LosePatience();
  EXPECT_EQ(RowsOf(seen_->steps.back()), RowMap({{other_, 1}}));
  SendAndRun(Request(3, 4, 2));
  while (!seen_->unanswered.empty()) AnswerStep();
  EXPECT_EQ(seen_->ended[other_].reason, EndReason::kMaxTokens);
  EXPECT_EQ(seen_->ended[3].reason, EndReason::kMaxTokens);
  EXPECT_EQ(seen_->ended.count(late_), 0u);
}

TEST_F(HangingRowTest, GoesOnWhereItWas) {
  const std::vector<int32_t> before = seen_->tokens[late_];
  LosePatience();
  AnswerStep();
  AnswerHangingRead(2);  // of both: it was given up
  EXPECT_EQ(RowsOf(seen_->steps.back()), RowMap({{other_, 1}}));
  AnswerHangingRead(1);
  AnswerStep();
  ASSERT_EQ(RowsOf(seen_->steps.back()), RowMap({{late_, 1}, {other_, 1}}));
  for (const StepRows& rows : seen_->steps.back().sequences) {
    if (rows.sequence != late_) continue;
    EXPECT_EQ(rows.token_ids, std::vector<int32_t>{kHanging});
    EXPECT_EQ(rows.first_position, 3 + static_cast<int32_t>(before.size()));
  }
  while (!seen_->unanswered.empty()) AnswerStep();
  for (SequenceId id : {late_, other_}) {
    EXPECT_EQ(seen_->ended[id].reason, EndReason::kMaxTokens);
    EXPECT_EQ(seen_->tokens[id].size(), 5u);
  }
}

TEST_F(HangingRowTest, ComesAfterItsSequenceWasCancelled_ToNobody) {
  LosePatience();
  caf::anon_send(client_, Cancel{late_});
  sched_.run();
  EXPECT_EQ(seen_->ended[late_].status.code(), absl::StatusCode::kCancelled);
  const size_t tokens = seen_->tokens[late_].size();
  AnswerHangingRead(2);
  AnswerHangingRead(1);
  while (!seen_->unanswered.empty()) AnswerStep();
  EXPECT_EQ(seen_->tokens[late_].size(), tokens);
  EXPECT_EQ(seen_->ended[other_].reason, EndReason::kMaxTokens);
  EXPECT_EQ(seen_->tokens[other_].size(), 5u);
  EXPECT_EQ(Status().running, 0);
}

TEST_F(HangingRowTest, FailsItsOwnSequenceInTheEnd) {
  LosePatience();
  while (!seen_->unanswered.empty()) AnswerStep();
  sched_.advance_time(config_.ple_timeout + std::chrono::seconds(1));
  sched_.run();
  EXPECT_EQ(seen_->ended[late_].status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(seen_->ended[other_].reason, EndReason::kMaxTokens);
}

TEST_F(SequencerTest, LostRolesFailWhatRunsAndWaitsAtOnce) {
  for (const std::string role : {"stage", "ple_server"}) {
    SCOPED_TRACE(role);
    seen_->ended.clear();
    if (!sequencer_) {
      config_.max_running = 1;
      Start();
    }
    HoldSteps();
    const SequenceId first = role == "stage" ? 1 : 3;
    SendAndRun(Request(first, 4, 20));
    SendAndRun(Request(first + 1, 4, 20));
    caf::anon_send(directory_, RoleEvent{role, false, 1, "killed", {}},
                   caf::strong_actor_ptr());
    sched_.run();
    ASSERT_EQ(seen_->ended.size(), 2u);
    for (const auto& [id, ended] : seen_->ended) {
      EXPECT_EQ(ended.status.code(), absl::StatusCode::kUnavailable);
      EXPECT_NE(ended.status.message().find(role), absl::string_view::npos);
    }
    SendAndRun(Request(100, 4, 1));
    EXPECT_EQ(seen_->accepted[100].code(), absl::StatusCode::kUnavailable);
    // Back: works again, on the same sequencer.
    seen_->answer_steps = true;
    StageGauges gauges;
    gauges.pages_total = 100;
    caf::anon_send(directory_, RoleEvent{role, true, 2, "", gauges},
                   caf::actor_cast<caf::strong_actor_ptr>(
                       role == "stage" ? caf::actor_cast<caf::actor>(stage_)
                                       : caf::actor_cast<caf::actor>(ple_)));
    sched_.run();
    SendAndRun(Request(first + 50, 4, 1));
    // What was on its way when the role was lost is nobody's any more.
    while (!seen_->unanswered.empty()) AnswerStep();
    EXPECT_TRUE(seen_->tokens[first].empty());
    EXPECT_EQ(seen_->ended[first + 50].reason, EndReason::kMaxTokens);
  }
}

TEST_F(SequencerTest, AStageThatDoesNotAnswerIsTakenForLost) {
  config_.step_timeout = std::chrono::seconds(10);
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 20));
  sched_.advance_time(std::chrono::seconds(11));
  sched_.run();
  EXPECT_EQ(seen_->ended[1].status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(SequencerTest, AClientThatDiesLeavesNothingBehind) {
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 20));
  caf::anon_send_exit(client_, caf::exit_reason::kill);
  sched_.run();
  EXPECT_EQ(seen_->stage_log.back(), "release 1");
}

TEST_F(SequencerTest, ASequencerThatDiesTellsItsClients) {
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 20));
  caf::anon_send_exit(sequencer_, caf::exit_reason::kill);
  sched_.run();
  EXPECT_EQ(seen_->ended[1].status.code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace lapidary
