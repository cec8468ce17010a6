// The bundled model against Hugging Face, over 200 conversations of its own
// tasks (tests/goldens/nano, made by tests/reference/make_nano_goldens.py).

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/chat_template.h"
#include "storage/json.h"
#include "storage/tokenizer.h"
#include "tests/support/files.h"
#include "tests/support/text_runner.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using kernels::DType;
using Outputs = TextRunner::Outputs;

constexpr char kNano[] = "deploy/models/nano";

class NanoParity : public testing::Test {
 protected:
  void SetUp() override {
    auto json = ParseJson(ReadBytes("tests/goldens/nano/text.json"), "golden");
    ASSERT_TRUE(json.ok()) << json.status();
    golden_ = *std::move(json);
    ASSERT_GE(golden_["cases"].size(), 200);
  }

  void Open(DType dtype) {
    const auto packed = PackFolder(dir_, kNano, dtype);
    ASSERT_TRUE(packed.ok()) << packed.status();
    TextRunnerOptions options;
    options.kv_dtype = dtype == DType::kBf16 ? dtype : DType::kF32;
    auto runner = TextRunner::Open(*packed, options);
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
  }

  static double Tolerance(const Json& one) {
    return std::max(1e-4, 4 * one["float32_noise"].get<double>());
  }

  TempDir dir_;
  Json golden_;
  std::unique_ptr<TextRunner> runner_;
};

TEST_F(NanoParity, PromptLogProbs_EqualHuggingFace) {
  ASSERT_NO_FATAL_FAILURE(Open(DType::kF32));
  double worst_of_all = 0;
  for (const Json& one : golden_["cases"]) {
    const auto ids = one["ids"].get<std::vector<int32_t>>();
    const auto expected = one["target_logprobs"].get<std::vector<float>>();
    RunningSequence sequence = runner_->Start(ids.size());
    const LogitRows logits = runner_->Feed(&sequence, ids, 64, Outputs::kAll);
    double worst = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const float got = LogProbs(logits[i])[ids[i + 1]];
      worst = std::max<double>(worst, std::fabs(got - expected[i]));
    }
    EXPECT_LE(worst, Tolerance(one)) << one["messages"].dump();
    worst_of_all = std::max(worst_of_all, worst);
  }
  std::printf("nano: max |d logprob| of prompt ids %.2e over %zu prompts\n",
              worst_of_all, golden_["cases"].size());
}

// The ids of an answer up to its end, with log-probs within the noise, or up
// to the first choice that Hugging Face makes by less than the noise.
TEST_F(NanoParity, GreedyAnswers_EqualHuggingFace) {
  ASSERT_NO_FATAL_FAILURE(Open(DType::kF32));
  int near_ties = 0;
  double worst = 0;
  for (const Json& one : golden_["cases"]) {
    const auto ids = one["ids"].get<std::vector<int32_t>>();
    const auto greedy = one["greedy"].get<std::vector<int32_t>>();
    const auto logprobs = one["greedy_logprobs"].get<std::vector<float>>();
    const auto margins = one["margins"].get<std::vector<float>>();
    RunningSequence sequence = runner_->Start(ids.size() + greedy.size());
    LogitRows logits = runner_->Feed(&sequence, ids, 512, Outputs::kLast);
    for (size_t i = 0; i < greedy.size(); ++i) {
      if (margins[i] <= 2 * Tolerance(one)) {
        ++near_ties;
        break;
      }
      const int32_t token = Argmax(logits.back(), golden_["greedy_ids_below"]);
      ASSERT_EQ(token, greedy[i]) << one["messages"].dump() << ", id " << i;
      const double apart =
          std::fabs(LogProbs(logits.back())[token] - logprobs[i]);
      EXPECT_LE(apart, Tolerance(one)) << one["messages"].dump();
      worst = std::max(worst, apart);
      logits = runner_->Feed(&sequence, {token}, 1, Outputs::kLast);
    }
  }
  std::printf("nano: max |d logprob| of answers %.2e, %d near-ties\n", worst,
              near_ties);
}

TEST_F(NanoParity, Conversations_RenderToHuggingFacesIds) {
  auto tokenizer = Tokenizer::Load(kNano);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const Json& one : golden_["cases"]) {
    std::vector<ChatMessage> messages;
    for (const Json& message : one["messages"]) {
      messages.push_back(
          ChatMessage::Text(message["role"].get<std::string>(),
                            message["content"].get<std::string>()));
    }
    const auto ids = RenderChatIds(**tokenizer, messages, true);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, one["ids"].get<std::vector<int32_t>>());
  }
}

// What a dtype costs on a trained model, whose choices have wide margins.
struct Cost {
  DType dtype;
  int share;  // of answers that stay Hugging Face's, at least, in percent
};

class NanoAnswers : public NanoParity,
                    public testing::WithParamInterface<Cost> {};

TEST_P(NanoAnswers, AreHuggingFaces) {
  ASSERT_NO_FATAL_FAILURE(Open(GetParam().dtype));
  int same = 0, all = 0;
  for (const Json& one : golden_["cases"]) {
    const auto ids = one["ids"].get<std::vector<int32_t>>();
    const auto greedy = one["greedy"].get<std::vector<int32_t>>();
    same += runner_->Greedy(ids, 512, greedy.size()) == greedy;
    ++all;
  }
  std::printf("nano %s: %d of %d answers equal the f32 ones\n",
              NameOf(GetParam().dtype), same, all);
  EXPECT_GE(same, all * GetParam().share / 100);
}

INSTANTIATE_TEST_SUITE_P(DTypes, NanoAnswers,
                         testing::Values(Cost{DType::kBf16, 95},
                                         Cost{DType::kInt8, 95},
                                         Cost{DType::kInt4, 90}),
                         [](const auto& info) {
                           return std::string(NameOf(info.param.dtype));
                         });

}  // namespace
}  // namespace lapidary
