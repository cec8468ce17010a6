#include "tests/actors/mixed_requests.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lapidary {
namespace {

using Random = std::mt19937;

int Between(Random& random, int least, int most) {
  return least + static_cast<int>(random() % (most - least + 1));
}

void AddTurn(const std::string& role, const std::string& text,
             v1::Prompt* prompt) {
  v1::Message* message = prompt->mutable_chat()->add_messages();
  message->set_role(role);
  message->add_parts()->set_text(text);
}

// Up to some 370 tokens, which the model answers from all of them.
std::string RecallQuestion(Random& random) {
  const std::vector<std::string> people = {"Anna", "Ben",  "Carol", "Max",
                                           "Olga", "Paul", "Rosa",  "Tina"};
  const std::vector<std::string> things = {"owl",   "key",   "train", "pear",
                                           "chair", "horse", "cloud", "bell"};
  const int sentences = Between(random, 1, 69);
  const int remember = Between(random, 0, sentences - 1);
  std::string text;
  for (int i = 0; i < sentences; ++i) {
    absl::StrAppend(&text, people[random() % 8], " has the ",
                    things[random() % 8], ". ");
    if (i == remember) {
      absl::StrAppend(&text, "Remember the ", things[random() % 8], ". ");
    }
  }
  return absl::StrCat(text, "What should you remember?");
}

v1::Prompt SomePrompt(Random& random) {
  const std::vector<std::string> questions = {
      "Translate cat to Russian.", "Tell me about the owl.",
      "Describe the búho.",        "How do you say Hund in English?",
      "nuage in German?",          "Was ist das?"};
  v1::Prompt prompt;
  switch (random() % 6) {
    case 0:
      AddTurn("user", RecallQuestion(random), &prompt);
      break;
    case 1: {  // conversations that begin alike
      AddTurn("system", "You are a careful translator.", &prompt);
      const int turns = Between(random, 0, 4);
      for (int i = 0; i < turns; ++i) {
        AddTurn("user", questions[i % questions.size()], &prompt);
        AddTurn("assistant", "owl", &prompt);
      }
      AddTurn("user", questions[random() % questions.size()], &prompt);
      break;
    }
    case 2:
      prompt.set_text("The owl is an animal. In German it is");
      break;
    case 3: {
      const bool long_one = random() % 3 == 0;
      const int length =
          long_one ? Between(random, 300, 700) : Between(random, 2, 80);
      prompt.mutable_ids()->add_ids(2);
      for (int i = 1; i < length; ++i) {
        prompt.mutable_ids()->add_ids(Between(random, 4, 3000));
      }
      break;
    }
    default:
      AddTurn("user", questions[random() % questions.size()], &prompt);
  }
  return prompt;
}

v1::Sampling SomeSampling(Random& random) {
  v1::Sampling sampling;
  if (random() % 5 < 2) {
    sampling.set_temperature(0);
  } else {
    sampling.set_temperature(0.25f * Between(random, 2, 8));
    sampling.set_top_k(random() % 2 == 0 ? 0 : Between(random, 1, 80));
    sampling.set_top_p(random() % 2 == 0 ? 1 : 0.9f);
    sampling.set_min_p(random() % 4 == 0 ? 0.01f : 0);
  }
  if (random() % 3 == 0) sampling.set_repetition_penalty(1.2f);
  if (random() % 6 == 0) {
    (*sampling.mutable_logit_bias())[Between(random, 4, 3000)] = 2;
  }
  sampling.set_seed(random());
  return sampling;
}

// The bits of what was said of a token's probability.
std::vector<uint32_t> Bits(const v1::Token& token) {
  std::vector<uint32_t> bits;
  const auto add = [&bits](float value) {
    bits.emplace_back();
    std::memcpy(&bits.back(), &value, sizeof(value));
  };
  bits.push_back(token.has_logprob());
  add(token.logprob());
  for (const v1::TokenLogprob& top : token.top()) {
    bits.push_back(top.id());
    add(top.logprob());
  }
  return bits;
}

}  // namespace

std::string MixedRequest::ToString() const {
  const std::string text =
      generate.has_value() ? generate->ShortDebugString()
                           : absl::StrCat("score ", score->ShortDebugString());
  return text.size() < 600 ? text
                           : absl::StrCat(text.substr(0, 200), " … ",
                                          text.substr(text.size() - 200));
}

std::vector<MixedRequest> MixedRequests(int count, uint32_t seed) {
  Random random(seed);
  std::vector<MixedRequest> requests(count);
  for (int i = 0; i < count; ++i) {
    if (i % 5 == 4) {
      v1::ScoreRequest& score = requests[i].score.emplace();
      *score.mutable_prompt() = SomePrompt(random);
      const int more = Between(random, 0, 20);
      for (int n = 0; n < more; ++n) {
        score.mutable_continuation_ids()->add_ids(Between(random, 4, 3000));
      }
      score.set_top_logprobs(Between(random, 0, 5));
      continue;
    }
    v1::GenerateRequest& generate = requests[i].generate.emplace();
    *generate.mutable_prompt() = SomePrompt(random);
    *generate.mutable_sampling() = SomeSampling(random);
    generate.set_max_tokens(Between(random, 1, 40));
    generate.set_ignore_eos(random() % 3 != 0);
    generate.set_top_logprobs(Between(random, 0, 5));
  }
  return requests;
}

Outcome Ask(Stub& stub, const MixedRequest& request) {
  if (request.generate.has_value()) {
    Answer answer = Generate(stub, *request.generate);
    return {answer.status, std::move(answer.tokens)};
  }
  Scores scores = Score(stub, *request.score);
  return {scores.status, std::move(scores.tokens)};
}

void Apart::Add(const Apart& other) {
  tokens += other.tokens;
  ids += other.ids;
  logprobs += other.logprobs;
  largest = std::max(largest, other.largest);
  if (first.empty()) first = other.first;
}

Apart Compare(const std::vector<v1::Token>& expected,
              const std::vector<v1::Token>& got) {
  Apart apart;
  apart.tokens = static_cast<int64_t>(expected.size());
  const size_t common = std::min(expected.size(), got.size());
  size_t at = 0;
  for (; at < common && expected[at].id() == got[at].id(); ++at) {
    if (Bits(expected[at]) == Bits(got[at])) continue;
    ++apart.logprobs;
    apart.largest = std::max<double>(
        apart.largest, std::fabs(expected[at].logprob() - got[at].logprob()));
    if (apart.first.empty()) {
      apart.first =
          absl::StrCat("token ", at, ": {", expected[at].ShortDebugString(),
                       "} and {", got[at].ShortDebugString(), "}");
    }
  }
  // From the first other token on, everything may differ.
  apart.ids = static_cast<int64_t>(std::max(expected.size(), got.size()) - at);
  if (apart.ids > 0 && apart.first.empty()) {
    apart.first = absl::StrCat("token ", at, " of ", expected.size(), ", ",
                               got.size(), " and its log-probabilities");
  }
  return apart;
}

}  // namespace lapidary
