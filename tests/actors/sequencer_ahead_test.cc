// Prompts that are prefilled while their rest is still being made: what the
// stage is sent, and that nobody else suffers.

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/actors/sequencer_fixture.h"

namespace lapidary {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

class SequencerAheadTest : public SequencerTest {
 protected:
  SequencerAheadTest() { config_.batch.max_rows = 256; }

  // The first `count` tokens of a prompt, with room for 100 and an answer.
  static Submit Open(SequenceId id, int count) {
    Submit submit = Request(id, count, 3);
    submit.open = true;
    submit.reserve_positions = 102;
    for (int i = 0; i < count; ++i) submit.tokens[i] = 50 + i % 7;
    return submit;
  }
  static Submit Whole(SequenceId id, int count) {
    Submit submit = Open(id, count);
    submit.open = false;
    submit.reserve_positions = 0;
    return submit;
  }

  const StepRows& LastRows() const {
    return seen_->steps.back().sequences.back();
  }
};

TEST_F(SequencerAheadTest, EachPieceRunsAsItComes_AndTheWholeIsAnswered) {
  Start();
  SendAndRun(Open(1, 20));
  ASSERT_EQ(seen_->steps.size(), 1u);
  EXPECT_EQ(LastRows().token_ids.size(), 20u);
  EXPECT_EQ(LastRows().start->max_positions, 102);
  EXPECT_FALSE(LastRows().sample);

  Submit more = Open(1, 32);
  more.goes_on = true;
  const auto rows = std::make_shared<const std::vector<float>>(8 * 4, 0.5f);
  more.soft_tokens = {
      {24, kernels::Tensor(kernels::DType::kF32, {8, 4}, rows->data(), rows)}};
  SendAndRun(more);
  ASSERT_EQ(seen_->steps.size(), 2u);
  EXPECT_EQ(LastRows().first_position, 20);
  EXPECT_EQ(LastRows().token_ids.size(), 12u);
  EXPECT_EQ(LastRows().soft_tokens.size(), 1u);
  EXPECT_FALSE(LastRows().sample);

  // All soft tokens once more, and some that are new.
  Submit whole = Whole(1, 40);
  const auto all = std::make_shared<const std::vector<float>>(10 * 4, 0.5f);
  whole.soft_tokens = {
      {24, kernels::Tensor(kernels::DType::kF32, {10, 4}, all->data(), all)}};
  SendAndRun(whole);
  const StepRows& rest = seen_->steps[2].sequences[0];
  EXPECT_EQ(rest.first_position, 32);
  EXPECT_EQ(rest.token_ids.size(), 8u);
  ASSERT_EQ(rest.soft_tokens.size(), 1u);
  EXPECT_EQ(rest.soft_tokens[0].first_position, 32);
  EXPECT_EQ(rest.soft_tokens[0].rows.dim(0), 2);
  EXPECT_TRUE(rest.sample);
  EXPECT_TRUE(seen_->ended.at(1).status.ok()) << seen_->ended[1].status;
  EXPECT_EQ(seen_->tokens[1].size(), 3u);
  EXPECT_EQ(seen_->ended[1].prompt_tokens, 40);
  EXPECT_EQ(seen_->ended[1].cached_prompt_tokens, 32);
  EXPECT_EQ(Status().accepted, 1u);
  EXPECT_EQ(Status().completed, 1u);
}

TEST_F(SequencerAheadTest, WhatComesWhileAStepRunsIsRunInTheNext) {
  Start();
  HoldSteps();
  SendAndRun(Open(1, 20));
  SendAndRun(Whole(1, 30));
  ASSERT_EQ(seen_->steps.size(), 1u);
  AnswerStep();
  ASSERT_EQ(seen_->steps.size(), 2u);
  EXPECT_EQ(LastRows().first_position, 20);
  EXPECT_EQ(LastRows().token_ids.size(), 10u);
  EXPECT_TRUE(LastRows().sample);
  while (!seen_->unanswered.empty()) AnswerStep();
  EXPECT_EQ(seen_->tokens[1].size(), 3u);
}

TEST_F(SequencerAheadTest, APromptThatTurnsOutDifferentIsRefused_AndStaysOpen) {
  Start();
  SendAndRun(Open(1, 20));
  Submit other = Whole(1, 30);
  other.tokens[5] = 99;
  SendAndRun(other);
  EXPECT_TRUE(absl::IsFailedPrecondition(seen_->accepted.at(1)));
  SendAndRun(Whole(1, 20));  // no token left that could be sampled from
  EXPECT_TRUE(absl::IsFailedPrecondition(seen_->accepted.at(1)));
  SendAndRun(Whole(1, 101));
  EXPECT_TRUE(absl::IsOutOfRange(seen_->accepted.at(1)));
  EXPECT_THAT(std::string(seen_->accepted.at(1).message()), HasSubstr("102"));
  SendAndRun(Whole(1, 30));
  EXPECT_TRUE(seen_->accepted.at(1).ok());
  EXPECT_EQ(seen_->tokens[1].size(), 3u);
}

TEST_F(SequencerAheadTest, WholePromptsComeFirst) {
  config_.max_running = 2;
  Start();
  HoldSteps();
  SendAndRun(Open(1, 20));
  EXPECT_TRUE(seen_->accepted.at(1).ok());
  SendAndRun(Open(2, 20));  // half of the places stay free
  EXPECT_TRUE(absl::IsResourceExhausted(seen_->accepted.at(2)));
  SendAndRun(Whole(3, 20));
  EXPECT_TRUE(seen_->accepted.at(3).ok());
  while (!seen_->unanswered.empty()) AnswerStep();
  EXPECT_EQ(seen_->tokens[3].size(), 3u);
  // It never was a request, so it neither ends nor is refused as one.
  caf::anon_send(client_, Cancel{1});
  sched_.run();
  EXPECT_EQ(Status().accepted, 1u);
  EXPECT_EQ(Status().cancelled, 0u);
  EXPECT_EQ(Status().refused, 0u);
  EXPECT_EQ(Status().running, 0);
  EXPECT_THAT(seen_->stage_log, testing::Contains("release 1"));
}

TEST_F(SequencerAheadTest, WhoeverSpeaksGivesWayToAWholePrompt) {
  config_.max_running = 2;
  Start();
  HoldSteps();
  SendAndRun(Open(1, 20));
  SendAndRun(Whole(2, 20));
  EXPECT_EQ(Status().running, 2);
  SendAndRun(Whole(3, 20));
  EXPECT_TRUE(absl::IsResourceExhausted(seen_->ended.at(1).status));
  EXPECT_EQ(Status().running, 2);
  EXPECT_EQ(Status().queued, 0);
  while (!seen_->unanswered.empty()) AnswerStep();
  EXPECT_EQ(seen_->tokens[3].size(), 3u);
}

TEST_F(SequencerAheadTest, OpenPromptsTakeHalfOfThePagesAtMost) {
  Start();
  HoldSteps();
  Submit large = Open(1, 20);
  large.reserve_positions = 51 * 64;  // of 100 pages
  SendAndRun(large);
  EXPECT_TRUE(absl::IsResourceExhausted(seen_->accepted.at(1)));
  large.reserve_positions = 50 * 64;
  SendAndRun(large);
  EXPECT_TRUE(seen_->accepted.at(1).ok());
  SendAndRun(Open(2, 20));
  EXPECT_TRUE(absl::IsResourceExhausted(seen_->accepted.at(2)));
  // 60 pages for a whole prompt: the speaker's are among them.
  SendAndRun(Request(3, 60 * 64 - 2, 3));
  EXPECT_TRUE(absl::IsResourceExhausted(seen_->ended.at(1).status));
  EXPECT_EQ(Status().running, 1);
}

TEST_F(SequencerAheadTest, ALaterPieceOfALostPromptIsNothing) {
  Start();
  Submit later = Open(1, 20);
  later.goes_on = true;
  SendAndRun(later);
  EXPECT_TRUE(absl::IsResourceExhausted(seen_->accepted.at(1)));
  EXPECT_TRUE(seen_->steps.empty());
}

TEST_F(SequencerAheadTest, AClientThatVanishesTakesItsOpenPromptWithIt) {
  Start();
  SendAndRun(Open(1, 20));
  EXPECT_EQ(Status().running, 1);
  caf::anon_send_exit(client_, caf::exit_reason::user_shutdown);
  sched_.run();
  EXPECT_EQ(Status().running, 0);
}

TEST_F(SequencerAheadTest, TimeIsCountedFromTheWholeRequestOn) {
  Start();
  SendAndRun(Open(1, 20));
  sched_.advance_time(seconds(20));
  sched_.run();
  Submit whole = Whole(1, 30);
  whole.time_limit_ns = std::chrono::nanoseconds(seconds(5)).count();
  SendAndRun(whole);
  EXPECT_EQ(seen_->tokens[1].size(), 3u);
  EXPECT_LT(seen_->ended.at(1).timings.queue,
            std::chrono::nanoseconds(seconds(1)).count());
  EXPECT_EQ(seen_->ended[1].reason, EndReason::kMaxTokens);
}

TEST_F(SequencerAheadTest, AnOpenPromptThatWasLostIsTakenWhole) {
  Start();
  SendAndRun(Open(1, 20));
  caf::anon_send(client_, Cancel{1});
  sched_.run();
  seen_->ended.clear();
  SendAndRun(Whole(1, 30));
  EXPECT_EQ(LastRows().sequence, 1u);
  EXPECT_EQ(seen_->tokens[1].size(), 3u);
  EXPECT_EQ(seen_->ended.at(1).prompt_tokens, 30);
}

}  // namespace
}  // namespace lapidary
