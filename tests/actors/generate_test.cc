// One node that serves the bundled model: what its answers are, and that they
// do not depend on the company.
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

class GenerateTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    node_ = StartNode(NanoOptions()).release();
    ASSERT_NE(node_, nullptr);
  }
  static void TearDownTestSuite() {
    delete node_;
    node_ = nullptr;
  }

  void SetUp() override { stub_ = InProcessStub(*node_); }

  static Node* node_;
  std::unique_ptr<Stub> stub_;
};

Node* GenerateTest::node_ = nullptr;

TEST_F(GenerateTest, AnswersWhatTheModelLearnt) {
  const Answer answer = Generate(*stub_, Ask("Translate cat to French.", 16));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.text, "chat");
  EXPECT_EQ(answer.final.stop_reason(), v1::STOP_REASON_EOS);
}

TEST_F(GenerateTest, FinalMessageCountsTokensAndTime) {
  const Answer answer = Generate(*stub_, Ask("Tell me about the owl.", 12));
  ASSERT_TRUE(answer.status.ok());
  EXPECT_EQ(answer.final.stop_reason(), v1::STOP_REASON_MAX_TOKENS);
  EXPECT_EQ(answer.final.usage().completion_tokens(), 12);
  EXPECT_EQ(answer.tokens.size(), 12u);
  EXPECT_GT(answer.final.usage().prompt_tokens(), 8);
  EXPECT_EQ(answer.final.timings().steps(), 12);
  EXPECT_GT(answer.final.timings().time_to_first_token_ms(), 0);
  EXPECT_GT(answer.final.timings().decode_tokens_per_second(), 0);
  EXPECT_GE(answer.final.timings().ple_share(), 0);
  EXPECT_LT(answer.final.timings().ple_share(), 1);
}

TEST_F(GenerateTest, IgnoreEosGoesOnToMaxTokens) {
  v1::GenerateRequest request = Ask("Translate cat to French.", 24);
  request.set_ignore_eos(true);
  const Answer answer = Generate(*stub_, request);
  ASSERT_TRUE(answer.status.ok());
  EXPECT_EQ(answer.tokens.size(), 24u);
  EXPECT_EQ(answer.final.stop_reason(), v1::STOP_REASON_MAX_TOKENS);
}

TEST_F(GenerateTest, SeedGivesTheSameAnswerAgain) {
  v1::GenerateRequest request = Ask("Tell me about the owl.", 32);
  request.mutable_sampling()->set_temperature(1.5);
  request.mutable_sampling()->set_top_k(0);
  request.set_ignore_eos(true);
  const Answer first = Generate(*stub_, request);
  ASSERT_TRUE(first.status.ok());
  const Answer other = Generate(*stub_, request);
  EXPECT_NE(first.ids(), other.ids());  // drawn seeds differ
  request.mutable_sampling()->set_seed(first.final.seed());
  const Answer again = Generate(*stub_, request);
  EXPECT_EQ(first.ids(), again.ids());
  EXPECT_EQ(again.final.seed(), first.final.seed());
}

TEST_F(GenerateTest, TopLogprobsHoldTheGreedyTokenFirst) {
  v1::GenerateRequest request = Ask("Translate cat to French.", 8);
  request.set_top_logprobs(3);
  const Answer answer = Generate(*stub_, request);
  ASSERT_TRUE(answer.status.ok());
  for (const v1::Token& token : answer.tokens) {
    ASSERT_EQ(token.top_size(), 3);
    EXPECT_EQ(token.top(0).id(), token.id());
    EXPECT_EQ(token.top(0).logprob(), token.logprob());
    EXPECT_LE(token.logprob(), 0);
    EXPECT_GE(token.top(0).logprob(), token.top(1).logprob());
  }
}

TEST_F(GenerateTest, StopStringAcrossTokensIsCutOff) {
  const Answer whole = Generate(*stub_, Ask("Tell me about the owl.", 48));
  ASSERT_TRUE(whole.status.ok());
  ASSERT_GT(whole.text.size(), 12u);
  // Every stretch of the answer, whatever tokens it lies in.
  for (size_t at = 1; at + 5 < whole.text.size(); at += 3) {
    const std::string stop = whole.text.substr(at, 5);
    if ((stop[0] & 0xc0) == 0x80 ||
        (at + 5 < whole.text.size() && (whole.text[at + 5] & 0xc0) == 0x80)) {
      continue;  // would cut a code point
    }
    v1::GenerateRequest request = Ask("Tell me about the owl.", 48);
    request.add_stop(stop);
    const Answer answer = Generate(*stub_, request);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.text, whole.text.substr(0, whole.text.find(stop)));
    EXPECT_EQ(answer.final.stop_reason(), v1::STOP_REASON_STOP_STRING);
    EXPECT_EQ(answer.final.stop_string(), stop);
    EXPECT_EQ(answer.final.usage().completion_tokens(),
              static_cast<int>(answer.tokens.size()));
  }
}

TEST_F(GenerateTest, DeltasAreWholeCodePoints) {
  const Answer answer = Generate(*stub_, Ask("Translate cat to Russian.", 16));
  ASSERT_TRUE(answer.status.ok());
  EXPECT_EQ(answer.text, "кошка");
  for (const std::string& delta : answer.deltas) {
    EXPECT_NE(static_cast<unsigned char>(delta[0]) & 0xc0, 0x80) << delta;
  }
}

TEST_F(GenerateTest, ScoreGivesTheLogprobsOfGenerate) {
  v1::GenerateRequest request = Ask("Tell me about the owl.", 40);
  request.set_top_logprobs(4);
  const Answer answer = Generate(*stub_, request);
  ASSERT_TRUE(answer.status.ok());

  v1::ScoreRequest score;
  *score.mutable_prompt() = request.prompt();
  score.mutable_prompt()->mutable_chat()->set_add_generation_prompt(true);
  for (int32_t id : answer.ids()) {
    score.mutable_continuation_ids()->add_ids(id);
  }
  score.set_top_logprobs(4);
  const Scores scores = Score(*stub_, score);
  ASSERT_TRUE(scores.status.ok()) << scores.status.error_message();
  const size_t prompt = scores.summary.usage().prompt_tokens();
  ASSERT_EQ(prompt, static_cast<size_t>(answer.final.usage().prompt_tokens()));
  ASSERT_EQ(scores.tokens.size(), prompt + answer.tokens.size());
  EXPECT_FALSE(scores.tokens[0].has_logprob());
  double sum = 0;
  for (size_t i = 0; i < answer.tokens.size(); ++i) {
    const v1::Token& scored = scores.tokens[prompt + i];
    EXPECT_EQ(scored.id(), answer.tokens[i].id());
    // The same rows, computed one by one there and together here.
    EXPECT_EQ(scored.logprob(), answer.tokens[i].logprob()) << i;
    ASSERT_EQ(scored.top_size(), 4);
    EXPECT_EQ(scored.top(0).id(), answer.tokens[i].top(0).id());
    sum += scored.logprob();
  }
  EXPECT_NEAR(scores.summary.continuation_logprob(), sum, 1e-6);
  EXPECT_LT(scores.summary.prompt_logprob(), 0);
  EXPECT_GT(scores.summary.timings().prefill_ms(), 0);
  EXPECT_GT(scores.summary.timings().prefill_tokens_per_second(), 0);
}

TEST_F(GenerateTest, ScoreOfOneTokenHasNoLogprob) {
  v1::ScoreRequest score;
  score.mutable_prompt()->mutable_ids()->add_ids(2);
  const Scores scores = Score(*stub_, score);
  ASSERT_TRUE(scores.status.ok()) << scores.status.error_message();
  ASSERT_EQ(scores.tokens.size(), 1u);
  EXPECT_EQ(scores.tokens[0].id(), 2);
  EXPECT_FALSE(scores.tokens[0].has_logprob());
}

// 64 requests of all lengths and kinds.
std::vector<v1::GenerateRequest> MixedRequests() {
  std::mt19937 random(7);
  const std::vector<std::string> questions = {
      "Translate cat to Russian.", "Tell me about the owl.",
      "Count from 2 to 6 in German.", "What is 7 plus 6?"};
  std::vector<v1::GenerateRequest> requests;
  for (int i = 0; i < 64; ++i) {
    const int max_tokens = 1 + static_cast<int>(random() % 48);
    if (i % 3 == 0) {
      std::vector<int32_t> ids = {2};
      const int length = 1 + static_cast<int>(random() % 600);
      for (int n = 0; n < length; ++n) ids.push_back(4 + random() % 3000);
      requests.push_back(AskIds(ids, max_tokens));
    } else {
      requests.push_back(Ask(questions[random() % 4], max_tokens));
    }
    if (i % 4 == 1) {
      requests.back().mutable_sampling()->set_temperature(1);
      requests.back().mutable_sampling()->set_seed(i);
      requests.back().mutable_sampling()->set_repetition_penalty(1.2f);
    }
    requests.back().set_ignore_eos(i % 2 == 0);
    requests.back().set_top_logprobs(2);
  }
  return requests;
}

TEST_F(GenerateTest, SixtyFourStreamsTogetherEqualEachAlone) {
  const std::vector<v1::GenerateRequest> requests = MixedRequests();
  std::vector<Answer> alone;
  for (const v1::GenerateRequest& request : requests) {
    alone.push_back(Generate(*stub_, request));
    ASSERT_TRUE(alone.back().status.ok())
        << alone.back().status.error_message();
  }
  std::vector<Answer> together(requests.size());
  std::vector<std::thread> clients;
  for (size_t i = 0; i < requests.size(); ++i) {
    clients.emplace_back([&, i] {
      auto stub = InProcessStub(*node_);
      together[i] = Generate(*stub, requests[i]);
    });
  }
  for (std::thread& client : clients) client.join();
  size_t differing_logprobs = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    ASSERT_TRUE(together[i].status.ok()) << together[i].status.error_message();
    EXPECT_EQ(together[i].ids(), alone[i].ids()) << "request " << i;
    EXPECT_EQ(together[i].text, alone[i].text);
    for (size_t t = 0; t < alone[i].tokens.size(); ++t) {
      if (t < together[i].tokens.size() &&
          alone[i].tokens[t].logprob() != together[i].tokens[t].logprob()) {
        ++differing_logprobs;
      }
    }
  }
  EXPECT_EQ(differing_logprobs, 0u);
}

TEST_F(GenerateTest, JoiningAndLeavingLeaveALongStreamAsItWas) {
  v1::GenerateRequest request = Ask("Tell me about the owl.", 300);
  request.set_ignore_eos(true);
  const Answer alone = Generate(*stub_, request);
  ASSERT_TRUE(alone.status.ok());
  // At every eighth message another request joins, some are cancelled midway.
  std::vector<std::thread> guests;
  int messages = 0;
  const Answer crowded = Generate(*stub_, request, [&](const Answer&) {
    if (messages++ % 8 == 0) {
      guests.emplace_back([this, messages] {
        auto stub = InProcessStub(*node_);
        v1::GenerateRequest guest =
            AskIds(std::vector<int32_t>(1 + messages, 300), 20);
        guest.set_ignore_eos(true);
        Generate(*stub, guest, [messages](const Answer& so_far) {
          return messages % 16 != 1 || so_far.tokens.size() < 3;
        });
      });
    }
    return true;
  });
  for (std::thread& guest : guests) guest.join();
  ASSERT_TRUE(crowded.status.ok());
  EXPECT_EQ(crowded.ids(), alone.ids());
  EXPECT_GT(guests.size(), 4u);
}

TEST_F(GenerateTest, TokenizeAndDetokenizeAgree) {
  v1::TokenizeRequest request;
  request.mutable_prompt()->set_text("Translate кошка to French.");
  v1::TokenizeResponse tokens;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(stub_->Tokenize(&context, request, &tokens).ok());
  }
  ASSERT_GT(tokens.ids_size(), 3);
  EXPECT_EQ(tokens.ids(0), 2);  // BOS
  v1::DetokenizeRequest back;
  *back.mutable_ids() = tokens.ids();
  back.set_skip_special(true);
  v1::DetokenizeResponse text;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->Detokenize(&context, back, &text).ok());
  EXPECT_EQ(text.text(), request.prompt().text());
}

TEST_F(GenerateTest, ListModelsTellsTheCheckpointsDefaults) {
  grpc::ClientContext context;
  v1::ListModelsResponse models;
  ASSERT_TRUE(
      stub_->ListModels(&context, v1::ListModelsRequest(), &models).ok());
  ASSERT_EQ(models.models_size(), 1);
  const v1::Model& model = models.models(0);
  EXPECT_EQ(model.name(), "nano");
  EXPECT_EQ(model.context_tokens(), 4096);
  EXPECT_EQ(model.text_vocabulary(), 3072);
  EXPECT_EQ(model.weight_dtype(), "f32");
  EXPECT_EQ(model.default_sampling().temperature(), 0);  // do_sample: false
  EXPECT_EQ(model.eos_ids_size(), 2);
}

TEST_F(GenerateTest, StatusTellsRolesMemoryAndPleCache) {
  ASSERT_TRUE(Generate(*stub_, Ask("What is 7 plus 6?", 8)).status.ok());
  const v1::StatusResponse status = GetStatus(*stub_);
  EXPECT_EQ(status.roles_size(), 6);  // both towers among them
  for (const v1::Role& role : status.roles()) EXPECT_TRUE(role.alive());
  EXPECT_GT(status.memory().weights_mapped(), 0u);
  EXPECT_GT(status.memory().weights_resident(), 0u);
  EXPECT_LE(status.memory().weights_resident(),
            status.memory().weights_mapped() + (1u << 20));
  EXPECT_GT(status.memory().process_resident(),
            status.memory().weights_resident());
  EXPECT_GT(status.memory().kv_pages_total(), 0);
  EXPECT_GT(status.memory().scratch(), 0u);
  EXPECT_GT(status.queue().completed(), 0u);
  EXPECT_GT(status.ple().reads(), 0u);
  EXPECT_GT(status.ple().latency_size(), 0);
}

}  // namespace
}  // namespace lapidary
