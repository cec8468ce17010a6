// The steps and reads that the sequencer sends for what its clients ask.
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "tests/actors/sequencer_fixture.h"

namespace lapidary {
namespace {

TEST_F(SequencerTest, APromptRunsInChunksThenOneRowAToken) {
  Start();
  SendAndRun(Request(1, 40, 3));
  std::vector<size_t> rows;
  std::vector<int32_t> positions;
  for (const Step& step : seen_->steps) {
    ASSERT_EQ(step.sequences.size(), 1u);
    rows.push_back(step.sequences[0].token_ids.size());
    positions.push_back(step.sequences[0].first_position);
    EXPECT_EQ(step.sequences[0].ple_rows.dim(0),
              static_cast<int64_t>(rows.back()));
    EXPECT_EQ(step.sequences[0].start.has_value(), positions.back() == 0);
  }
  EXPECT_EQ(rows, std::vector<size_t>({16, 16, 8, 1, 1}));
  EXPECT_EQ(positions, std::vector<int32_t>({0, 16, 32, 40, 41}));
  EXPECT_FALSE(seen_->steps[1].sequences[0].sample);
  EXPECT_TRUE(seen_->steps[2].sequences[0].sample);
  EXPECT_EQ(seen_->tokens[1], std::vector<int32_t>({10, 10, 10}));
  EXPECT_EQ(seen_->ended[1].reason, EndReason::kMaxTokens);
  EXPECT_EQ(seen_->ended[1].prompt_tokens, 40);
  EXPECT_EQ(seen_->ended[1].completion_tokens, 3);
  EXPECT_EQ(seen_->stage_log.back(), "release 1");
}

TEST_F(SequencerTest, StepsAreCountedByKind) {
  Start();
  SendAndRun(Request(1, 40, 3));
  const SequencerStatus status = Status();
  EXPECT_EQ(status.prompt_steps.steps, 3u);
  EXPECT_EQ(status.prompt_steps.rows, 40u);
  EXPECT_EQ(status.prompt_steps.compute_ns, 3 * 1000);
  EXPECT_EQ(status.decode_steps.steps, 2u);
  EXPECT_EQ(status.decode_steps.rows, 2u);
  EXPECT_EQ(status.decode_steps.compute_ns, 2 * 1000);
}

TEST_F(SequencerTest, APromptsRowsAreOneReadAndATokensRowFollowsTheToken) {
  Start();
  SendAndRun(Request(1, 40, 3));
  ASSERT_EQ(seen_->reads.size(), 3u);
  EXPECT_EQ(seen_->reads[0].ids.size(), 40u);
  EXPECT_EQ(seen_->reads[1].ids, std::vector<int32_t>({10}));
  EXPECT_EQ(seen_->reads[2].ids, std::vector<int32_t>({10}));
}

TEST_F(SequencerTest, LongPromptsAreReadInWindowsAheadOfTheirRows) {
  config_.max_window = 16;
  Start();
  HoldSteps();
  SendAndRun(Request(1, 100, 1));
  // One window in use and one ready.
  ASSERT_EQ(seen_->reads.size(), 2u);
  EXPECT_EQ(seen_->reads[0].ids.size(), 16u);
  AnswerStep();
  EXPECT_EQ(seen_->reads.size(), 3u);
}

TEST_F(SequencerTest, AllDecodingSequencesShareOneRead) {
  Start();
  HoldSteps();
  for (SequenceId id : {1, 2, 3}) Send(Request(id, 4, 5));
  sched_.run();
  AnswerStep();  // whoever came first
  while (seen_->steps.back().sequences.size() < 3) AnswerStep();
  const size_t before = seen_->reads.size();
  AnswerStep();
  ASSERT_EQ(seen_->reads.size(), before + 1);
  EXPECT_EQ(seen_->reads.back().ids.size(), 3u);
}

TEST_F(SequencerTest, DecodingGoesOnBesideALongPrompt) {
  config_.batch.max_rows = 512;
  Start();
  HoldSteps();
  SendAndRun(Request(1, 4, 20));
  AnswerStep();  // 1 decodes from now on
  Send(Request(2, 2000, 20));
  sched_.run();
  AnswerStep();  // without prompt rows: now it is known what decoding takes
  EXPECT_EQ(RowsOf(seen_->steps.back()), RowMap({{1, 1}, {2, 64}}));
  AnswerStep();
  EXPECT_EQ(seen_->tokens[1].size(), 3u);
}

TEST_F(SequencerTest, PromptRowsBesideDecodingFollowWhatStepsTook) {
  config_.batch.max_rows = 512;
  Start();
  HoldSteps();
  for (SequenceId id : {1, 2, 3, 4}) Send(Request(id, 4, 200));
  sched_.run();
  for (int i = 0; i < 10; ++i) {
    AnswerTimedStep();
  }
  SendAndRun(Request(5, 2000, 1));
  const size_t before = seen_->steps.size();
  while (seen_->ended.count(5) == 0) {
    AnswerTimedStep();
  }
  std::vector<size_t> chunks;
  for (size_t i = before; i < seen_->steps.size(); ++i) {
    const RowMap rows = RowsOf(seen_->steps[i]);
    for (SequenceId id : {1, 2, 3, 4}) EXPECT_EQ(rows.count(id), 1u);
    if (rows.count(5) != 0) chunks.push_back(rows.at(5));
  }
  // 64 rows until it is known that 60 ms are worth 60; with 4 decoding rows
  // they are 4 blocks of 16.
  EXPECT_EQ(chunks.front(), 64u);
  EXPECT_EQ(chunks[1], 60u);
  EXPECT_EQ(chunks[chunks.size() - 2], 60u);
}

TEST_F(SequencerTest, PromptsShareAStepEqually) {
  config_.batch.max_rows = 32;
  Start();
  HoldSteps();
  SendAndRun(Request(1, 100, 5));
  Send(Request(2, 100, 5));
  sched_.run();
  AnswerStep();
  EXPECT_EQ(RowsOf(seen_->steps.back()), RowMap({{1, 16}, {2, 16}}));
}

TEST_F(SequencerTest, EosEndsTheAnswer) {
  Start();
  seen_->next_token = kEos;
  SendAndRun(Request(1, 4, 20));
  EXPECT_EQ(seen_->ended[1].reason, EndReason::kEos);
  EXPECT_EQ(seen_->ended[1].completion_tokens, 1);
}

TEST_F(SequencerTest, ScoringAsksForEveryTokenButTheFirst) {
  Start();
  Submit submit;
  submit.sequence = 1;
  submit.task = Task::kScore;
  submit.tokens = {2, 11, 12, 13};
  submit.top_logprobs = 0;
  SendAndRun(submit);
  ASSERT_EQ(seen_->steps.size(), 1u);
  const StepRows& rows = seen_->steps[0].sequences[0];
  EXPECT_EQ(rows.token_ids, std::vector<int32_t>({2, 11, 12}));
  EXPECT_EQ(rows.targets, std::vector<int32_t>({11, 12, 13}));
  EXPECT_FALSE(rows.sample);
  EXPECT_EQ(seen_->tokens[1], std::vector<int32_t>({11, 12, 13}));
  EXPECT_EQ(seen_->ended[1].reason, EndReason::kScored);
}

}  // namespace
}  // namespace lapidary
