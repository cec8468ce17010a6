// Everything that can be wrong with a request, each with its code and words.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

using grpc::StatusCode;
using testing::AllOf;
using testing::HasSubstr;

class BadRequestsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    NodeOptions options = NanoOptions();
    // 64 positions take some 60 pages; a prompt of 2000 does not fit.
    options.kv_memory_bytes = size_t{2} << 20;
    options.max_text_bytes = 10000;
    options.max_message_bytes = 100000;
    node_ = StartNode(options).release();
    ASSERT_NE(node_, nullptr);
  }
  static void TearDownTestSuite() {
    delete node_;
    node_ = nullptr;
  }
  void SetUp() override { stub_ = InProcessStub(*node_); }

  void ExpectRefused(const v1::GenerateRequest& request, StatusCode code,
                     const std::vector<std::string>& words) {
    Expect(Generate(*stub_, request).status, code, words);
  }
  void ExpectRefused(const v1::ScoreRequest& request, StatusCode code,
                     const std::vector<std::string>& words) {
    Expect(Score(*stub_, request).status, code, words);
  }
  static void Expect(const grpc::Status& status, StatusCode code,
                     const std::vector<std::string>& words) {
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    for (const std::string& word : words) {
      EXPECT_THAT(status.error_message(), HasSubstr(word));
    }
    // For whoever wants to read them all.
    testing::Test::RecordProperty("message", status.error_message());
    std::printf("  %d %s\n", static_cast<int>(status.error_code()),
                status.error_message().c_str());
  }

  static v1::GenerateRequest Good() { return Ask("Translate cat.", 4); }

  static Node* node_;
  std::unique_ptr<Stub> stub_;
};

Node* BadRequestsTest::node_ = nullptr;

TEST_F(BadRequestsTest, TheGoodOneIsAnswered) {
  EXPECT_TRUE(Generate(*stub_, Good()).status.ok());
}

TEST_F(BadRequestsTest, MissingAndEmptyPrompts) {
  v1::GenerateRequest request = Good();
  request.clear_prompt();
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT,
                {"prompt is missing", "a chat, a text or ids"});
  request.mutable_prompt()->mutable_chat();
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT,
                {"prompt.chat.messages is empty"});
  request.mutable_prompt()->mutable_ids();
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT, {"prompt.ids is empty"});
  request.mutable_prompt()->set_text("");
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT,
                {"prompt.text is empty"});
  request = Good();
  request.mutable_prompt()->mutable_chat()->mutable_messages(0)->clear_parts();
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT,
                {"prompt.chat.messages[0].parts is empty"});
}

TEST_F(BadRequestsTest, RolesThatDoNotAlternate) {
  v1::GenerateRequest request = Good();
  *request.mutable_prompt()->mutable_chat()->add_messages() =
      request.prompt().chat().messages(0);
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT,
                {"prompt.chat.messages", "alternate"});
}

TEST_F(BadRequestsTest, SoundThatIsNone_IsNamed) {
  v1::GenerateRequest request = Good();
  v1::Message* message =
      request.mutable_prompt()->mutable_chat()->mutable_messages(0);
  message->add_parts()->mutable_audio()->set_data("x");
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT,
                {"messages[0].parts[1].audio"});
}

TEST_F(BadRequestsTest, IdsOutOfRange) {
  ExpectRefused(AskIds({2, -1}, 4), StatusCode::INVALID_ARGUMENT,
                {"prompt.ids[1] is -1", "[0, 3072)"});
  ExpectRefused(AskIds({2, 3, 3200}, 4), StatusCode::INVALID_ARGUMENT,
                {"prompt.ids[2] is 3200", "[0, 3072)"});
  ExpectRefused(AskIds({3072}, 4), StatusCode::INVALID_ARGUMENT,
                {"prompt.ids[0] is 3072", "images and sound"});
  v1::ScoreRequest score;
  score.mutable_prompt()->mutable_ids()->add_ids(2);
  score.mutable_continuation_ids()->add_ids(999999);
  ExpectRefused(score, StatusCode::INVALID_ARGUMENT,
                {"continuation_ids[0] is 999999"});
}

TEST_F(BadRequestsTest, PromptsPastTheContext) {
  ExpectRefused(AskIds(std::vector<int32_t>(4096, 5), 1),
                StatusCode::OUT_OF_RANGE, {"4096", "max_tokens of 1"});
  ExpectRefused(
      AskIds({2, 5}, 4095), StatusCode::OUT_OF_RANGE,
      {"prompt of 2 tokens", "max_tokens of 4095", "context of 4096"});
  v1::GenerateRequest silent = AskIds(std::vector<int32_t>(5000, 5), 1);
  silent.clear_max_tokens();
  ExpectRefused(silent, StatusCode::OUT_OF_RANGE,
                {"prompt of 5000 tokens", "4096"});
  v1::ScoreRequest score;
  for (int i = 0; i < 4097; ++i) {
    score.mutable_prompt()->mutable_ids()->add_ids(5);
  }
  ExpectRefused(score, StatusCode::OUT_OF_RANGE, {"4097", "4096"});
}

TEST_F(BadRequestsTest, MaxTokensOfNothing) {
  v1::GenerateRequest request = Good();
  request.set_max_tokens(0);
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT, {"max_tokens is 0"});
  request.set_max_tokens(-5);
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT, {"max_tokens is -5"});
  request.set_max_tokens(std::numeric_limits<int32_t>::max());
  ExpectRefused(request, StatusCode::OUT_OF_RANGE,
                {"max_tokens of 2147483647", "context of 4096"});
}

TEST_F(BadRequestsTest, SamplingValues) {
  const float nan = std::nanf("");
  const auto refuse = [&](void (v1::Sampling::*set)(float), float value,
                          const std::string& field) {
    v1::GenerateRequest request = Good();
    (request.mutable_sampling()->*set)(value);
    ExpectRefused(request, StatusCode::INVALID_ARGUMENT, {"sampling", field});
  };
  for (float value : {-1.0f, nan, std::numeric_limits<float>::infinity()}) {
    refuse(&v1::Sampling::set_temperature, value, "temperature");
  }
  for (float value : {-0.1f, 0.0f, 1.5f, nan}) {
    refuse(&v1::Sampling::set_top_p, value, "top_p");
  }
  for (float value : {-0.1f, 1.5f, nan}) {
    refuse(&v1::Sampling::set_min_p, value, "min_p");
  }
  for (float value : {-1.0f, 0.0f, nan}) {
    refuse(&v1::Sampling::set_repetition_penalty, value, "repetition_penalty");
  }
  v1::GenerateRequest request = Good();
  request.mutable_sampling()->set_top_k(-1);
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT, {"sampling", "top_k"});
}

TEST_F(BadRequestsTest, LogitBiases) {
  v1::GenerateRequest request = Good();
  (*request.mutable_sampling()->mutable_logit_bias())[3072] = 1;
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT, {"logit_bias", "3072"});
  request = Good();
  (*request.mutable_sampling()->mutable_logit_bias())[5] = std::nanf("");
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT, {"logit_bias"});
  request = Good();
  for (int i = 0; i < 1025; ++i) {
    (*request.mutable_sampling()->mutable_logit_bias())[i] = 1;
  }
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT,
                {"logit_bias has 1025", "1024"});
}

TEST_F(BadRequestsTest, TopLogprobs) {
  for (int value : {-1, 65}) {
    v1::GenerateRequest request = Good();
    request.set_top_logprobs(value);
    ExpectRefused(request, StatusCode::INVALID_ARGUMENT,
                  {"top_logprobs is", "[0, 64]"});
  }
}

TEST_F(BadRequestsTest, StopStrings) {
  v1::GenerateRequest request = Good();
  request.add_stop("");
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT, {"stop[0] has 0"});
  request.set_stop(0, std::string(257, 'x'));
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT,
                {"stop[0] has 257", "256"});
  request.clear_stop();
  for (int i = 0; i < 17; ++i) request.add_stop("x");
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT, {"stop has 17", "16"});
}

TEST_F(BadRequestsTest, UnknownModelListsWhatThereIs) {
  v1::GenerateRequest request = Good();
  request.set_model("gemma-3n-E9B");
  ExpectRefused(request, StatusCode::NOT_FOUND, {"gemma-3n-E9B", "\"nano\""});
}

TEST_F(BadRequestsTest, InvalidUtf8NamesTheField) {
  v1::GenerateRequest request = Ask("good \xff bad", 4);
  ExpectRefused(
      request, StatusCode::INVALID_ARGUMENT,
      {"prompt.chat.messages[0].parts[0].text", "byte 5", "0xff", "UTF-8"});
  request = Good();
  request.add_stop("fine");
  request.add_stop("\xc3");
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT, {"stop[1]", "byte 0"});
}

TEST_F(BadRequestsTest, LongTexts) {
  ExpectRefused(Ask(std::string(10001, 'x'), 4), StatusCode::OUT_OF_RANGE,
                {"prompt.chat", "10001", "10000"});
  v1::GenerateRequest request = Good();
  request.mutable_prompt()->set_text(std::string(10001, 'x'));
  ExpectRefused(request, StatusCode::OUT_OF_RANGE, {"prompt.text", "10001"});
}

TEST_F(BadRequestsTest, OversizedMessages) {
  ExpectRefused(Ask(std::string(200000, 'x'), 4),
                StatusCode::RESOURCE_EXHAUSTED, {"larger than max"});
}

TEST_F(BadRequestsTest, SequencesThatNeedMorePagesThanThereAre) {
  ExpectRefused(AskIds(std::vector<int32_t>(3000, 5), 1000),
                StatusCode::RESOURCE_EXHAUSTED,
                {"3999 positions", "pages", "--kv-memory"});
}

TEST_F(BadRequestsTest, DetokenizeChecksItsIds) {
  v1::DetokenizeRequest request;
  request.add_ids(-1);
  v1::DetokenizeResponse response;
  {
    grpc::ClientContext context;
    Expect(stub_->Detokenize(&context, request, &response),
           StatusCode::INVALID_ARGUMENT, {"ids[0] is -1"});
  }
  for (int i = 0; i < 4096; ++i) request.add_ids(5);
  grpc::ClientContext context;
  Expect(stub_->Detokenize(&context, request, &response),
         StatusCode::OUT_OF_RANGE, {"4097", "4096"});
}

TEST_F(BadRequestsTest, Priority) {
  v1::GenerateRequest request = Good();
  request.set_priority(static_cast<v1::Priority>(9));
  ExpectRefused(request, StatusCode::INVALID_ARGUMENT,
                {"priority is 9", "PRIORITY_HIGH (3)"});
  v1::ScoreRequest score;
  *score.mutable_prompt() = request.prompt();
  score.set_priority(static_cast<v1::Priority>(-1));
  ExpectRefused(score, StatusCode::INVALID_ARGUMENT, {"priority is -1"});
}

}  // namespace
}  // namespace lapidary
