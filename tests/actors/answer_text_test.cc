#include "actors/answer_text.h"

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

TEST(StopMatcherTest, WithoutStopStringsAllComesAtOnce) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.Push("abc"), "abc");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopMatcherTest, HoldsBackWhatCouldBecomeAStopString) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.Push("the E"), "the ");
  EXPECT_EQ(matcher.Push("N"), "");
  EXPECT_EQ(matcher.Push("Emy"), "ENEmy");
  EXPECT_EQ(matcher.Push(" EN"), " ");
  EXPECT_EQ(matcher.Flush(), "EN");
  EXPECT_EQ(matcher.met(), "");
}

TEST(StopMatcherTest, CutsAtTheStopStringAndStaysSilent) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.Push("the E"), "the ");
  EXPECT_EQ(matcher.Push("NDless"), "");
  EXPECT_EQ(matcher.met(), "END");
  EXPECT_EQ(matcher.Push("more"), "");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopMatcherTest, TheFirstToBeginIsMetAndOfThoseTheLongest) {
  StopMatcher matcher({"cd", "bcd", "bc"});
  EXPECT_EQ(matcher.Push("abcd"), "a");
  EXPECT_EQ(matcher.met(), "bcd");
}

// What comes out is the text before the first stop string, however it is cut.
TEST(StopMatcherTest, AnyCutOfTheTextGivesTheSameText) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 30; ++i) text.push_back("ab"[random() % 2]);
    std::string stop;
    const int length = 1 + static_cast<int>(random() % 6);
    for (int i = 0; i < length; ++i) stop.push_back("ab"[random() % 2]);
    StopMatcher matcher({stop});
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const size_t size = 1 + random() % 4;
      out += matcher.Push(text.substr(at, size));
      at += size;
      ASSERT_EQ(out, text.substr(0, out.size()));
    }
    out += matcher.Flush();
    ASSERT_EQ(out, text.substr(0, text.find(stop))) << text << " " << stop;
    ASSERT_EQ(matcher.met().empty(), text.find(stop) == std::string::npos);
  }
}

}  // namespace
}  // namespace lapidary
