#include "deploy/cli/json_output.h"

#include <limits>

#include "gtest/gtest.h"

namespace lapidary::cli {
namespace {

TEST(JsonOutput, ScoredToken_HasTheFormThatScriptsRead) {
  v1::Token token;
  token.set_id(105);
  token.set_logprob(-3.2f);
  v1::TokenLogprob* top = token.add_top();
  top->set_id(7);
  top->set_logprob(-0.25f);
  EXPECT_EQ(ToLine(ToJson(token)),
            R"({"id":105,"logprob":-3.2,"top":[{"id":7,"logprob":-0.25}]})");
}

TEST(JsonOutput, TokenWithoutLogprob_HasNoSuchKey) {
  v1::Token token;
  token.set_id(2);
  EXPECT_EQ(ToLine(ToJson(token)), R"({"id":2})");
}

TEST(JsonOutput, FloatsComeBackExactly) {
  for (const float value : {-1.0f / 3, -1e-7f, -123.456789f, -16777217.0f}) {
    v1::Token token;
    token.set_logprob(value);
    const OutputJson read = OutputJson::parse(ToLine(ToJson(token)));
    EXPECT_EQ(static_cast<float>(read["logprob"].get<double>()), value);
  }
}

TEST(JsonOutput, NoNumber_BecomesNull) {
  v1::Token token;
  token.set_logprob(-std::numeric_limits<float>::infinity());
  EXPECT_EQ(ToLine(ToJson(token)), R"({"id":0,"logprob":null})");
}

TEST(JsonOutput, StopReasons_HaveShortNames) {
  EXPECT_EQ(NameOf(v1::STOP_REASON_EOS), "eos");
  EXPECT_EQ(NameOf(v1::STOP_REASON_STOP_STRING), "stop_string");
  EXPECT_EQ(NameOf(v1::STOP_REASON_MAX_TOKENS), "max_tokens");
  EXPECT_EQ(NameOf(v1::STOP_REASON_DEADLINE), "deadline");
}

}  // namespace
}  // namespace lapidary::cli
