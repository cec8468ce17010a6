// The sampler against Hugging Face's logits processors, and what it promises
// beside them. Every draw is a function of a fixed seed: nothing here is left
// to chance.

#include "kernels/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/sampling/vocabulary_ops.h"

namespace lapidary::kernels {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int32_t kVocabulary = 8;

// Ids 1 and 4 tie.
const std::vector<float> kLogits = {2, 1, -1, 0.5, 1, -2, 3, 0};

SamplingParams Greedy() {
  SamplingParams params;
  params.temperature = 0;
  return params;
}

std::vector<int32_t> Tokens(SamplingParams params, int count,
                            const std::vector<float>& logits = kLogits) {
  Sampler sampler(std::move(params), kVocabulary);
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(sampler.Sample(logits));
  return tokens;
}

// One case of the table below.
struct HfCase {
  const char* name;
  std::vector<int32_t> seen;
  SamplingParams params;
  std::vector<double> probabilities;  // transformers 5's, of kLogits
};

SamplingParams Params(float temperature, int32_t top_k, float top_p,
                      float min_p, float repetition_penalty = 1,
                      std::vector<std::pair<int32_t, float>> bias = {}) {
  SamplingParams params;
  params.temperature = temperature;
  params.top_k = top_k;
  params.top_p = top_p;
  params.min_p = min_p;
  params.repetition_penalty = repetition_penalty;
  params.logit_bias = std::move(bias);
  return params;
}

// softmax(processors(kLogits)) with SequenceBiasLogitsProcessor,
// RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper,
// TopPLogitsWarper and MinPLogitsWarper in the order of
// GenerationMixin._get_logits_processor.
std::vector<HfCase> HfCases() {
  return {
      {"Plain",
       {},
       Params(1, 0, 1, 0),
       {0.204892, 0.075376, 0.010201, 0.045718, 0.075376, 0.003753, 0.556956,
        0.027729}},
      {"Temperature",
       {},
       Params(0.5f, 0, 1, 0),
       {0.114539, 0.015501, 0.000284, 0.005703, 0.015501, 0.000038, 0.846336,
        0.002098}},
      {"TopK2", {}, Params(1, 2, 1, 0), {0.268941, 0, 0, 0, 0, 0, 0.731059, 0}},
      {"TopK3_KeepsTheTie",
       {},
       Params(1, 3, 1, 0),
       {0.224515, 0.082595, 0, 0, 0.082595, 0, 0.610296, 0}},
      {"TopK4",
       {},
       Params(1, 4, 1, 0),
       {0.224515, 0.082595, 0, 0, 0.082595, 0, 0.610296, 0}},
      {"TopP0.5_TheFirstReachesIt",
       {},
       Params(1, 0, 0.5f, 0),
       {0, 0, 0, 0, 0, 0, 1, 0}},
      {"TopP0.9",
       {},
       Params(1, 0, 0.9f, 0),
       {0.224515, 0.082595, 0, 0, 0.082595, 0, 0.610296, 0}},
      {"TopP0.01_OneAlwaysStays",
       {},
       Params(1, 0, 0.01f, 0),
       {0, 0, 0, 0, 0, 0, 1, 0}},
      {"MinP0.2",
       {},
       Params(1, 0, 1, 0.2f),
       {0.268941, 0, 0, 0, 0, 0, 0.731059, 0}},
      {"MinP0.05",
       {},
       Params(1, 0, 1, 0.05f),
       {0.213804, 0.078654, 0, 0.047706, 0.078654, 0, 0.581181, 0}},
      {"MinP1", {}, Params(1, 0, 1, 1), {0, 0, 0, 0, 0, 0, 1, 0}},
      {"RepetitionPenalty2",
       {6, 2, 6},
       Params(1, 0, 1, 0, 2),
       {0.365312, 0.134391, 0.006691, 0.081512, 0.134391, 0.006691, 0.221573,
        0.049440}},
      {"RepetitionPenalty0.5",
       {6, 2, 7},
       Params(1, 0, 1, 0, 0.5f),
       {0.017608, 0.006478, 0.001445, 0.003929, 0.006478, 0.000322, 0.961357,
        0.002383}},
      {"LogitBias",
       {},
       Params(1, 0, 1, 0, 1, {{5, 6.0f}, {6, -4.0f}}),
       {0.104353, 0.038389, 0.005195, 0.023284, 0.038389, 0.771070, 0.005195,
        0.014123}},
      {"LogitBiasBeforeRepetitionPenalty",
       {5, 6, 2},
       Params(1, 0, 1, 0, 1.5f, {{5, 6.0f}, {6, -4.0f}, {2, -0.5f}}),
       {0.244713, 0.090025, 0.003491, 0.054603, 0.090025, 0.476636, 0.007390,
        0.033118}},
      {"TemperatureBeforeTopP",
       {},
       Params(2, 0, 0.7f, 0),
       {0.258948, 0.157060, 0, 0, 0.157060, 0, 0.426933, 0}},
      {"TemperatureBeforeMinP",
       {},
       Params(2, 0, 1, 0.4f),
       {0.377541, 0, 0, 0, 0, 0, 0.622459, 0}},
      {"TopKBeforeTopP",
       {},
       Params(1, 4, 0.75f, 0),
       {0.268941, 0, 0, 0, 0, 0, 0.731059, 0}},
      {"AllButMinP",
       {6, 0},
       Params(0.7f, 4, 0.93f, 0, 1.3f, {{3, 1.0f}, {4, -0.5f}}),
       {0.184816, 0.085638, 0, 0.174936, 0, 0, 0.554610, 0}},
      {"All",
       {6, 0},
       Params(0.7f, 5, 0.85f, 0.15f, 1.3f, {{3, 1.0f}, {4, -0.5f}}),
       {0.202126, 0, 0, 0.191320, 0, 0, 0.606554, 0}},
  };
}

TEST(SamplerTest, ManyDraws_FollowHuggingFacesDistribution) {
  constexpr int kDraws = 20000;
  for (HfCase& c : HfCases()) {
    SCOPED_TRACE(c.name);
    std::vector<int> counts(kVocabulary);
    // A new sampler each time, so that the penalty sees the prompt alone.
    for (int i = 0; i < kDraws; ++i) {
      c.params.seed = 1000 + i;
      Sampler sampler(c.params, kVocabulary);
      sampler.See(c.seen);
      ++counts[sampler.Sample(kLogits)];
    }
    for (int32_t id = 0; id < kVocabulary; ++id) {
      const double p = c.probabilities[id];
      const double deviation = std::sqrt(p * (1 - p) / kDraws);
      if (p == 0 || p == 1) {
        EXPECT_EQ(counts[id], p * kDraws) << "id " << id;
      } else {
        EXPECT_NEAR(counts[id] / double{kDraws}, p, 4 * deviation)
            << "id " << id;
      }
    }
  }
}

TEST(SamplerTest, DrawsOfOneSeed_FollowTheDistribution) {
  constexpr int kDraws = 20000;
  std::vector<int> counts(kVocabulary);
  SamplingParams params;
  params.seed = 7;
  for (int32_t token : Tokens(params, kDraws)) ++counts[token];
  const std::vector<double> expected = HfCases()[0].probabilities;
  for (int32_t id = 0; id < kVocabulary; ++id) {
    EXPECT_NEAR(counts[id] / double{kDraws}, expected[id],
                4 * std::sqrt(expected[id] / kDraws));
  }
}

TEST(SamplerTest, TopPTie_GoesToTheLowestId) {
  // 0.557 + 0.205 < 0.8 ≤ with one of the tied ids 1 and 4.
  for (int32_t token : Tokens(Params(1, 0, 0.8f, 0), 1000)) {
    EXPECT_THAT(token, testing::AnyOf(0, 1, 6));
  }
}

TEST(SamplerTest, GreedyTie_GoesToTheLowestId) {
  EXPECT_THAT(Tokens(Greedy(), 1, {1, 5, 2, 5, 5, 0, 0, 0}), ElementsAre(1));
  EXPECT_THAT(Tokens(Greedy(), 1, std::vector<float>(8, -3)), ElementsAre(0));
  EXPECT_THAT(Tokens(Greedy(), 1, {-kInf, -0.0f, 0.0f, -1, -1, -1, -1, -1}),
              ElementsAre(1));
}

TEST(SamplerTest, GreedyHeedsBiasAndPenaltyOnly) {
  SamplingParams params = Params(0, 1, 0.1f, 1, 4, {{1, 3.5f}});
  // Once seen, id 1 goes from 4.5 to 1.125, still above id 4's 1; id 6 from 3
  // to 0.75, id 0 from 2 to 0.5.
  EXPECT_THAT(Tokens(params, 6), ElementsAre(1, 6, 0, 1, 1, 1));
}

TEST(SamplerTest, IdsBeyondTheTextVocabulary_AreNeverDrawn) {
  std::vector<float> logits = kLogits;
  logits.insert(logits.end(), 100, 50.0f);
  for (const SamplingParams& params :
       {Greedy(), SamplingParams(), Params(1, 200, 1, 0), Params(1, 0, 0.9f, 0),
        Params(1, 0, 1, 0.5f), Params(2, 0, 1, 0, 1.5f),
        Params(1e30f, 0, 1, 0)}) {
    for (int32_t token : Tokens(params, 500, logits)) {
      EXPECT_LT(token, kVocabulary);
    }
  }
}

TEST(SamplerTest, SeenIdsThatAreNoText_AreIgnored) {
  SamplingParams params = Greedy();
  params.repetition_penalty = 2;
  Sampler sampler(params, kVocabulary);
  const std::vector<int32_t> ids = {-1, kVocabulary, 1 << 30,
                                    std::numeric_limits<int32_t>::min()};
  sampler.See(ids);
  EXPECT_EQ(sampler.Sample(kLogits), 6);
}

TEST(SamplerTest, DrawnTokens_CountForThePenalty) {
  SamplingParams params = Greedy();
  params.repetition_penalty = 100;
  EXPECT_THAT(Tokens(params, 4), ElementsAre(6, 0, 1, 4));
}

TEST(SamplerTest, LogitsAreNotChanged) {
  const std::vector<float> before = kLogits;
  Tokens(Params(0.5f, 3, 0.9f, 0.1f, 1.5f, {{1, 2.0f}}), 10);
  EXPECT_EQ(kLogits, before);
}

TEST(SamplerTest, ReplayFromAnyToken_DrawsTheSame) {
  SamplingParams params = Params(1.5f, 0, 0.95f, 0);
  params.seed = 99;
  const std::vector<int32_t> whole = Tokens(params, 64);
  for (uint64_t at : {0, 1, 17, 63}) {
    Sampler sampler(params, kVocabulary);
    sampler.set_drawn(at);
    for (size_t i = at; i < whole.size(); ++i) {
      ASSERT_EQ(sampler.drawn(), i);
      ASSERT_EQ(sampler.Sample(kLogits), whole[i]);
    }
  }
}

TEST(SamplerTest, Seeds_DrawDifferently) {
  SamplingParams params;
  std::vector<std::vector<int32_t>> drawn;
  for (uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{2}, ~uint64_t{0},
                        uint64_t{0x9E3779B97F4A7C15u}}) {
    params.seed = seed;
    drawn.push_back(Tokens(params, 64));
  }
  for (size_t a = 0; a < drawn.size(); ++a) {
    for (size_t b = 0; b < a; ++b) {
      int same = 0;
      for (int i = 0; i < 64; ++i) same += drawn[a][i] == drawn[b][i];
      // Chance alone makes them agree on 36 % of the tokens.
      EXPECT_LT(same, 45) << a << " and " << b;
    }
  }
}

TEST(SamplerTest, TemperatureOfTheSmallestNumber_IsGreedy) {
  for (float temperature : {1e-6f, 1e-38f, 1e-45f}) {
    for (int32_t token : Tokens(Params(temperature, 0, 1, 0), 50)) {
      EXPECT_EQ(token, 6) << temperature;
    }
  }
}

TEST(SamplerTest, InfinitelyUnlikelyIds_AreNeverDrawn) {
  std::vector<float> logits(8, -kInf);
  logits[3] = 1e30f;
  for (const SamplingParams& params :
       {SamplingParams(), Params(1, 4, 1, 0), Params(1, 0, 0.99f, 0),
        Params(1e30f, 0, 1, 0.01f)}) {
    for (int32_t token : Tokens(params, 200, logits)) EXPECT_EQ(token, 3);
  }
}

TEST(SamplerTest, LogitsThatAreNoNumbers_StillGiveATextId) {
  std::vector<float> logits(8, kNaN);
  for (float other : {kNaN, kInf, 1.0f}) {
    logits[5] = other;
    for (const SamplingParams& params :
         {Greedy(), SamplingParams(), Params(1, 3, 0.9f, 0.1f),
          Params(1, 0, 0.9f, 0), Params(0.5f, 0, 1, 0.5f, 2)}) {
      for (int32_t token : Tokens(params, 20, logits)) {
        EXPECT_GE(token, 0);
        EXPECT_LT(token, kVocabulary);
      }
    }
  }
}

TEST(CheckSamplingParamsTest, Defaults_AndTheEdgesOfTheRanges_AreGood) {
  EXPECT_TRUE(CheckSamplingParams({}, kVocabulary).ok());
  EXPECT_TRUE(CheckSamplingParams(Params(0, 0, 1, 0), kVocabulary).ok());
  EXPECT_TRUE(
      CheckSamplingParams(Params(1e30f, std::numeric_limits<int32_t>::max(),
                                 1e-30f, 1, 1e-30f, {{0, -1e30f}, {7, 1e30f}}),
                          kVocabulary)
          .ok());
}

TEST(CheckSamplingParamsTest, EveryFieldOutOfRange_IsNamed) {
  const struct {
    SamplingParams params;
    const char* message;
  } cases[] = {
      {Params(-0.5f, 0, 1, 0), "temperature: -0.5 is not in [0, inf)"},
      {Params(kNaN, 0, 1, 0), "temperature: nan is not in [0, inf)"},
      {Params(kInf, 0, 1, 0), "temperature: inf is not in [0, inf)"},
      {Params(1, -1, 1, 0), "top_k: -1 is not in [0, inf)"},
      {Params(1, 0, 0, 0), "top_p: 0 is not in (0, 1]"},
      {Params(1, 0, 1.5f, 0), "top_p: 1.5 is not in (0, 1]"},
      {Params(1, 0, kNaN, 0), "top_p: nan is not in (0, 1]"},
      {Params(1, 0, 1, -0.5f), "min_p: -0.5 is not in [0, 1]"},
      {Params(1, 0, 1, 2), "min_p: 2 is not in [0, 1]"},
      {Params(1, 0, 1, kNaN), "min_p: nan is not in [0, 1]"},
      {Params(1, 0, 1, 0, 0), "repetition_penalty: 0 is not in (0, inf)"},
      {Params(1, 0, 1, 0, -1), "repetition_penalty: -1 is not in (0, inf)"},
      {Params(1, 0, 1, 0, kInf), "repetition_penalty: inf is not in (0, inf)"},
      {Params(1, 0, 1, 0, kNaN), "repetition_penalty: nan is not in (0, inf)"},
      {Params(1, 0, 1, 0, 1, {{0, 1.0f}, {-1, 1.0f}}),
       "logit_bias: token id -1 is not in [0, 8)"},
      {Params(1, 0, 1, 0, 1, {{8, 1.0f}}),
       "logit_bias: token id 8 is not in [0, 8)"},
      {Params(1, 0, 1, 0, 1, {{3, kNaN}}),
       "logit_bias: nan for token id 3 is not finite"},
      {Params(1, 0, 1, 0, 1, {{3, -kInf}}),
       "logit_bias: -inf for token id 3 is not finite"},
  };
  for (const auto& c : cases) {
    const absl::Status status = CheckSamplingParams(c.params, kVocabulary);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.message));
  }
}

TEST(TopLogProbsTest, AreOrdered_TiesByLowestId) {
  const double sum = LogSumExp(kLogits);
  const auto top = TopLogProbs(kLogits, 5, sum);
  std::vector<int32_t> ids;
  for (const TokenLogProb& t : top) {
    ids.push_back(t.id);
    EXPECT_NEAR(t.logprob, kLogits[t.id] - sum, 1e-6);
  }
  EXPECT_THAT(ids, ElementsAre(6, 0, 1, 4, 3));
}

TEST(TopLogProbsTest, AreAtMostTheVocabulary_AndSumToOne) {
  const double sum = LogSumExp(kLogits);
  EXPECT_TRUE(TopLogProbs(kLogits, 0, sum).empty());
  const auto all = TopLogProbs(kLogits, 1000, sum);
  ASSERT_EQ(all.size(), kLogits.size());
  double total = 0;
  for (const TokenLogProb& t : all) total += std::exp(double{t.logprob});
  EXPECT_NEAR(total, 1, 1e-6);
}

TEST(TopLogProbsTest, EqualASortOfEverything) {
  std::vector<float> logits;
  for (int i = 0; i < 3000; ++i) logits.push_back((i * 7919) % 613 * 0.01f);
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  const auto top = TopLogProbs(logits, 50, LogSumExp(logits));
  ASSERT_EQ(top.size(), 50u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(top[i].id, ids[i]) << i;
}

}  // namespace
}  // namespace lapidary::kernels
