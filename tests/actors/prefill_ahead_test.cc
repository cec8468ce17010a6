// Turns that are prefilled while they are spoken: the answer is the one that
// they have otherwise, whatever else the turn turns out to be.

#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/actors/media_cases.h"
#include "tests/actors/nano_node.h"
#include "tests/actors/served.h"
#include "tests/actors/talk.h"

namespace lapidary {
namespace {

v1::ConverseStart Ahead() {
  v1::ConverseStart start = Greedy();
  start.set_early_prefill(true);
  return start;
}

// Some seconds: several words.
std::string Words() {
  return PcmOf(Medium("candle_en.wav")) + PcmOf(Medium("dog_de.wav")) +
         PcmOf(Medium("candle_en.wav"));
}

// What is before the sound has been run; soft tokens may have been.
bool HasBegun(const Served& served) {
  return WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.queue().running() == 1 &&
           status.memory().kv_pages_in_use() > 0;
  });
}

void ExpectSame(const Talk& talk, const Talk& plain) {
  EXPECT_EQ(talk.text, plain.text);
  EXPECT_EQ(talk.ids, plain.ids);
  EXPECT_EQ(talk.logprobs, plain.logprobs);  // to the bit, in int4
}

// A turn of `texts` around a sound; with `begun` what is before its end has
// been run by then.
Talk Turn(const Served& served, const v1::ConverseStart& start,
          const std::string& before, const std::string& pcm,
          const std::string& after) {
  Talk talk(served, start);
  if (!before.empty()) talk.Text(before);
  talk.PcmInPieces(pcm, 3200);
  if (start.early_prefill()) {
    EXPECT_TRUE(HasBegun(served));
  }
  if (!after.empty()) talk.Text(after);
  talk.Answer();
  return talk;
}

TEST(PrefillAheadTest, TheAnswerIsTheSame_AndItsPromptWasThere) {
  const Served served(NanoOptions(kernels::DType::kInt4));
  const Talk plain = Turn(served, Greedy(), "Transcribe.", Words(), "");
  ASSERT_FALSE(plain.ids.empty());
  v1::ConverseStart start = Ahead();
  // Only what is prefilled ahead is to be there.
  start.mutable_request()->set_no_prefix_cache(true);
  const Talk talk = Turn(served, start, "Transcribe.", Words(), "");
  ExpectSame(talk, plain);
  const v1::Usage& usage = talk.done.final().usage();
  EXPECT_EQ(usage.prompt_tokens(), plain.done.final().usage().prompt_tokens());
  EXPECT_GT(usage.cached_prompt_tokens(), 4);
  EXPECT_TRUE(AllFreed(served));
}

TEST(PrefillAheadTest, WhatFollowsTheSoundIsPartOfThePrompt) {
  const Served served(NanoOptions(kernels::DType::kInt4));
  const std::string question = "Translate this to Spanish.";
  const Talk plain = Turn(served, Greedy(), "", Words(), question);
  ExpectSame(Turn(served, Ahead(), "", Words(), question), plain);
  // More than there was room for.
  std::string much;
  for (int i = 0; i < 300; ++i) much += "and so on ";
  const Talk long_plain = Turn(served, Greedy(), "", Words(), much);
  ExpectSame(Turn(served, Ahead(), "", Words(), much), long_plain);
  EXPECT_TRUE(AllFreed(served));
}

TEST(PrefillAheadTest, ASoundOfSeveralWindows_OrASecondSound) {
  const Served served(NanoOptions(kernels::DType::kInt4));
  std::string much;
  for (int i = 0; i < 6; ++i) much += Words();
  const Talk plain = Turn(served, Greedy(), "Transcribe.", much, "");
  ASSERT_GT(plain.done.sound_tokens(), 32);
  ExpectSame(Turn(served, Ahead(), "Transcribe.", much, ""), plain);
  std::vector<Talk> talks;
  for (const v1::ConverseStart& start : {Greedy(), Ahead()}) {
    Talk talk(served, start);
    talk.PcmInPieces(Words(), 3200);
    talk.Text("and");
    talk.PcmInPieces(PcmOf(Medium("dog_de.wav")), 3200);
    talk.Answer();
    talks.push_back(std::move(talk));
  }
  ExpectSame(talks[1], talks[0]);
  EXPECT_TRUE(AllFreed(served));
}

TEST(PrefillAheadTest, TheNextTurnsAreToo) {
  const Served served(NanoOptions(kernels::DType::kInt4));
  Talk plain(served);
  Talk talk(served, Ahead());
  for (int turn = 0; turn < 3; ++turn) {
    for (Talk* one : {&plain, &talk}) {
      one->Text("Transcribe.");
      one->PcmInPieces(Words(), 5000);
      one->Answer();
    }
    ExpectSame(talk, plain);
  }
}

TEST(PrefillAheadTest, WithoutPadding_ThePromptIsShorter) {
  const Served served(NanoOptions(kernels::DType::kInt4));
  const std::string pcm = PcmOf(Medium("candle_en.wav"));
  const Talk padded = Turn(served, Greedy(), "Transcribe.", pcm, "");
  v1::ConverseStart start = Greedy();
  start.set_omit_padding(true);
  const Talk plain = Turn(served, start, "Transcribe.", pcm, "");
  EXPECT_EQ(plain.done.final().usage().prompt_tokens(),
            padded.done.final().usage().prompt_tokens() - 32 +
                plain.done.sound_tokens());
  start.set_early_prefill(true);
  ExpectSame(Turn(served, start, "Transcribe.", pcm, ""), plain);
}

TEST(PrefillAheadTest, TurnsThatAreDropped_FreeWhatTheyHad) {
  const Served served(NanoOptions(kernels::DType::kInt4));
  {
    Talk talk(served, Ahead());
    talk.Text("Transcribe.");
    talk.PcmInPieces(Words(), 3200);
    ASSERT_TRUE(HasBegun(served));
    talk.Cancel();
    ASSERT_TRUE(talk.ReadTurn());
    EXPECT_TRUE(AllFreed(served));
    talk.PcmInPieces(PcmOf(Medium("candle_en.wav")), 3200);
    talk.Text("Transcribe.");
    EXPECT_EQ(talk.Answer(), "candle");
    EXPECT_TRUE(talk.Finish().ok());
  }
  {
    Talk talk(served, Ahead());
    talk.PcmInPieces(Words(), 3200);
    ASSERT_TRUE(HasBegun(served));
    talk.Vanish();
    talk.Finish();
  }
  EXPECT_TRUE(AllFreed(served));
  EXPECT_EQ(GetStatus(*served.stub).queue().cancelled(), 0);
}

TEST(PrefillAheadTest, WithoutRoom_TheTurnIsPrefilledAtItsEnd) {
  NodeOptions options = NanoOptions(kernels::DType::kInt4);
  options.max_running = 1;
  const Served served(options);
  const Talk plain = Turn(served, Greedy(), "Transcribe.", Words(), "");
  Talk talk(served, Ahead());
  talk.Text("Transcribe.");
  talk.PcmInPieces(Words(), 3200);
  talk.Answer();
  ExpectSame(talk, plain);
}

}  // namespace
}  // namespace lapidary
