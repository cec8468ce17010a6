// What the sequencer does with prompts that begin alike: what it fetches, what
// it runs, what it says to the stage and to the client.
#include <algorithm>
#include <vector>

#include "gtest/gtest.h"
#include "tests/actors/sequencer_fixture.h"

namespace lapidary {
namespace {

class SequencerPrefixTest : public SequencerTest {
 protected:
  SequencerPrefixTest() {
    config_.kv_layout.layers = {{0, 0}, {1, 64}};
    config_.batch = {256, 64};
    config_.prefix_pages = 50;
  }

  static Submit Like(SequenceId id, int prompt, int max_tokens) {
    Submit submit = Request(id, prompt, max_tokens);
    submit.tokens.assign(prompt, 50);
    return submit;
  }

  const StepRows& LastRows() const {
    return seen_->steps.back().sequences.back();
  }
};

TEST_F(SequencerPrefixTest, OnlyTheRestOfThePromptIsFetchedAndRun) {
  Start();
  SendAndRun(Like(1, 140, 1));
  ASSERT_EQ(seen_->steps.size(), 1u);
  ASSERT_EQ(LastRows().keep.size(), 2u);
  const std::vector<BlockHandle> handles = {LastRows().keep[0].handle,
                                            LastRows().keep[1].handle};
  EXPECT_EQ(LastRows().keep[1].parent, handles[0]);
  SendAndRun(Like(2, 150, 1));
  ASSERT_EQ(seen_->steps.size(), 2u);
  ASSERT_TRUE(LastRows().start.has_value());
  EXPECT_EQ(LastRows().start->prefix, handles);
  EXPECT_EQ(LastRows().start->prefix_tokens, std::vector<int32_t>(128, 50));
  EXPECT_EQ(LastRows().first_position, 128);
  EXPECT_EQ(LastRows().token_ids.size(), 22u);
  EXPECT_EQ(LastRows().ple_rows.dim(0), 22);
  EXPECT_EQ(seen_->reads.back().ids.size(), 22u);
  EXPECT_TRUE(LastRows().sample);
  EXPECT_EQ(seen_->ended[1].cached_prompt_tokens, 0);
  EXPECT_EQ(seen_->ended[2].cached_prompt_tokens, 128);
  EXPECT_EQ(seen_->ended[2].prompt_tokens, 150);
}

TEST_F(SequencerPrefixTest, AStageThatLacksABlockRunsThePromptFromItsStart) {
  Start();
  SendAndRun(Like(1, 140, 1));
  HoldSteps();
  SendAndRun(Like(2, 150, 2));
  ASSERT_EQ(LastRows().start->prefix.size(), 2u);
  StepResult lacks = lapidary::Answer(*seen_, seen_->steps.back());
  lacks.sequences[0].status = absl::FailedPreconditionError("not kept");
  lacks.sequences[0].sampled.reset();
  lacks.sequences[0].missing_block = LastRows().start->prefix[1];
  AnswerStepWith(lacks);
  EXPECT_TRUE(LastRows().start->prefix.empty());
  EXPECT_EQ(LastRows().first_position, 0);
  EXPECT_EQ(LastRows().token_ids.size(), 150u);
  while (!seen_->unanswered.empty()) AnswerStep();
  EXPECT_TRUE(seen_->ended[2].status.ok()) << seen_->ended[2].status;
  EXPECT_EQ(seen_->tokens[2].size(), 2u);
  EXPECT_EQ(seen_->ended[2].cached_prompt_tokens, 0);
  // The block that was there still is.
  SendAndRun(Like(3, 150, 1));
  EXPECT_FALSE(LastRows().start->prefix.empty());
}

TEST_F(SequencerPrefixTest, ALostStageTakesThePrefixesWithIt) {
  Start();
  SendAndRun(Like(1, 140, 1));
  const caf::strong_actor_ptr none;
  caf::anon_send(directory_, RoleEvent{"stage", false, 1, "died", {}}, none);
  sched_.run();
  StageGauges gauges;
  gauges.pages_total = 100;
  caf::anon_send(directory_, RoleEvent{"stage", true, 2, "", gauges},
                 caf::actor_cast<caf::strong_actor_ptr>(stage_));
  sched_.run();
  SendAndRun(Like(2, 150, 1));
  EXPECT_TRUE(LastRows().start->prefix.empty());
  EXPECT_EQ(seen_->ended[2].cached_prompt_tokens, 0);
}

TEST_F(SequencerPrefixTest, WhatIsInTheWayOfARequestIsDroppedBeforeItStarts) {
  Start();
  SendAndRun(Like(1, 64 * 15 + 1, 1));  // 15 blocks of two pages, one more
  SendAndRun(Request(2, 64 * 90, 1));   // 91 of 100 pages
  ASSERT_EQ(seen_->ended.count(2), 1u);
  EXPECT_TRUE(seen_->ended[2].status.ok());
  const auto starts =
      std::find_if(seen_->steps.begin(), seen_->steps.end(),
                   [](const Step& s) { return s.sequences[0].sequence == 2; });
  EXPECT_FALSE(starts->drop_blocks.empty() && starts->drop_windows.empty());
}

}  // namespace
}  // namespace lapidary
