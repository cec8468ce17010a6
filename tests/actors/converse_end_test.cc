// Cancels that cross the end of what they were to cancel.

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
