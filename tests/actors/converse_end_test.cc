// How conversations and their turns end: a node that shuts down, and cancels
// that cross the end of what they were to cancel.

#include <chrono>
#include <random>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/actors/media_cases.h"
#include "tests/actors/nano_node.h"
#include "tests/actors/served.h"
#include "tests/actors/talk.h"

namespace lapidary {
namespace {

using testing::HasSubstr;
using Code = grpc::StatusCode;

// With more grace than a test has time.
class ConverseShutdownTest : public testing::Test {
 protected:
  ~ConverseShutdownTest() override {
    if (stopper_.joinable()) stopper_.join();
  }

  void ShutDown() {
    stopper_ = std::thread([this] { served_.node->Shutdown(absl::Hours(1)); });
  }

  static void ExpectToldOfShutdown(Talk& talk) {
    const grpc::Status status = talk.ReadToTheEnd();
    EXPECT_EQ(status.error_code(), Code::UNAVAILABLE);
    EXPECT_THAT(status.error_message(),
                HasSubstr("the server is shutting down"));
  }

  const Served served_;
  std::thread stopper_;
};

TEST_F(ConverseShutdownTest, EndsIdleConversationsAtOnce) {
  Talk fresh(served_);
  Talk answered(served_);
  answered.Text("Translate cat to French.");
  EXPECT_EQ(answered.Answer(), "chat");
  v1::ConverseStart by_silence = Greedy();
  by_silence.mutable_endpointing();
  Talk silent(served_, by_silence);  // it only hears the room
  silent.Text("Transcribe.");
  silent.Pcm(std::string(16000, '\0'));
  EXPECT_TRUE(WaitFor(*served_.stub, [](const v1::StatusResponse& status) {
    return status.audio().live() == 1;
  }));
  ShutDown();
  for (Talk* talk : {&fresh, &answered, &silent}) ExpectToldOfShutdown(*talk);
}

TEST_F(ConverseShutdownTest, WaitsForTheTurnUnderWay) {
  Talk idle(served_);
  Talk speaking(served_);
  const std::string pcm = PcmOf(Medium("candle_en.wav"));
  speaking.Pcm(pcm.substr(0, pcm.size() / 2));
  v1::ConverseStart start = Greedy();
  start.mutable_request()->set_max_tokens(600);
  start.mutable_request()->set_ignore_eos(true);
  Talk listening(served_, start);
  listening.Text("Tell me about the owl.");
  listening.EndOfTurn();
  EXPECT_TRUE(WaitFor(*served_.stub, [](const v1::StatusResponse& status) {
    return status.audio().live() == 1 && status.queue().running() == 1;
  }));
  ShutDown();
  ExpectToldOfShutdown(idle);
  speaking.Pcm(pcm.substr(pcm.size() / 2));
  speaking.Text("Transcribe.");
  EXPECT_EQ(speaking.Answer(), "candle");
  ASSERT_TRUE(listening.ReadTurn());
  EXPECT_EQ(listening.ids.size(), 600u);
  ExpectToldOfShutdown(speaking);
  ExpectToldOfShutdown(listening);
}

TEST(ConverseCancelTest, OfATurnThatIsDone_IsAnsweredByNothing) {
  const Served served;
  Talk talk(served);
  talk.Cancel();
  talk.Text("Translate cat to French.");
  EXPECT_EQ(talk.Answer(), "chat");
  EXPECT_EQ(talk.done.turn(), 1);
  talk.Cancel();
  talk.Text("Translate dog to French.");
  talk.Cancel(1);  // whose done it had not seen
  EXPECT_EQ(talk.Answer(), "chien");
  EXPECT_EQ(talk.done.turn(), 2);
  talk.Text("Translate dog to French.");
  talk.Cancel(3);
  ASSERT_TRUE(talk.ReadTurn());
  EXPECT_EQ(talk.done.final().stop_reason(), v1::STOP_REASON_CANCELLED);
  EXPECT_EQ(talk.done.turn(), 3);
  EXPECT_TRUE(talk.Finish().ok());
}

TEST(ConverseCancelTest, AtAnyMoment_EveryTurnHasOneDone) {
  const Served served;
  v1::ConverseStart start = Greedy();
  start.mutable_request()->set_max_tokens(16);
  Talk talk(served, start);
  std::mt19937 random(3);
  for (int turn = 1; turn <= 60; ++turn) {
    talk.Text("Translate cat to French.");
    talk.EndOfTurn();
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
    talk.Cancel(turn % 2 == 0 ? turn : 0);
    ASSERT_TRUE(talk.ReadTurn()) << talk.ReadToTheEnd().error_message();
    ASSERT_EQ(talk.done.turn(), turn);
  }
  EXPECT_TRUE(talk.Finish().ok());
  EXPECT_EQ(talk.done.turn(), 60);  // none came after it
  EXPECT_TRUE(AllFreed(served));
}

TEST(ConverseCancelTest, OfATurnToCome_IsRefused) {
  for (const int turn : {-1, 2}) {
    const Served served;
    Talk talk(served);
    talk.Text("Translate cat to French.");
    talk.Cancel(turn);
    const grpc::Status status = talk.ReadToTheEnd();
    EXPECT_EQ(status.error_code(), Code::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(),
                HasSubstr(absl::StrCat("cancel.turn is ", turn)));
  }
}

}  // namespace
}  // namespace lapidary
