// A hundred requests through a whole node: what a request is answered depends
// on the request, the model and its dtype, and on nothing else. For int8 and
// int4 to the last bit of every log-probability; for f32 and bf16, whose
// products are oneDNN's, what differs is counted and printed.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/actors/mixed_requests.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

using kernels::DType;

constexpr int kClients = 24;

struct Kind {
  DType dtype;
  DType kv_dtype;
  int requests;
  bool exact;  // whether the answer's bits are promised
};

std::string NameOfKind(const testing::TestParamInfo<Kind>& info) {
  return absl::StrCat(NameOf(info.param.dtype), "WithKv",
                      NameOf(info.param.kv_dtype));
}

// One way to run a node.
struct NodeSetup {
  int threads = 1;
  int64_t max_batch_rows = 512;  // and so the chunks of prompts
  int max_running = 64;
  bool trim_prefill = true;
  bool over_tcp = false;

  std::string ToString() const {
    return absl::StrCat(threads, " threads, steps of ", max_batch_rows,
                        " rows, ", max_running, " at once",
                        trim_prefill ? "" : ", not trimmed",
                        over_tcp ? ", over TCP" : "");
  }
};

class SameAnswer : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    static auto* const answers =
        new std::map<std::pair<DType, DType>, std::vector<Outcome>>();
    std::vector<Outcome>& alone =
        (*answers)[{GetParam().dtype, GetParam().kv_dtype}];
    if (alone.empty()) {
      auto node = Run(NodeSetup{});
      ASSERT_NE(node, nullptr);
      auto stub = InProcessStub(*node);
      for (const MixedRequest& request : requests_) {
        alone.push_back(Ask(*stub, request));
      }
    }
    alone_ = alone;
    for (const Outcome& outcome : alone_) {
      ASSERT_TRUE(outcome.status.ok()) << outcome.status.error_message();
    }
  }

  static std::unique_ptr<Node> Run(const NodeSetup& setup) {
    NodeOptions options = NanoOptions(GetParam().dtype);
    options.kv_dtype = GetParam().kv_dtype;
    options.threads = setup.threads;
    options.max_batch_rows = setup.max_batch_rows;
    options.max_running = setup.max_running;
    options.trim_prefill = setup.trim_prefill;
    if (setup.over_tcp) options.listen_address = "127.0.0.1:0";
    return StartNode(options);
  }

  static std::unique_ptr<Stub> StubOf(Node& node, const NodeSetup& setup) {
    if (!setup.over_tcp) return InProcessStub(node);
    return v1::Lapidary::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", node.port()),
                            grpc::InsecureChannelCredentials()));
  }

  // All requests at once from kClients clients, in an order of `seed`, among
  // others that leave before their answer is done.
  std::vector<Outcome> AskTogether(const NodeSetup& setup, uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<int> order;
    for (int i = 0; i < GetParam().requests; ++i) order.push_back(i);
    std::shuffle(order.begin(), order.end(), random);
    std::vector<Outcome> outcomes(requests_.size());
    auto node = Run(setup);
    if (node == nullptr) return outcomes;
    std::atomic<size_t> next{0};
    std::vector<std::thread> clients;
    for (int client = 0; client < kClients; ++client) {
      clients.emplace_back([&] {
        auto stub = StubOf(*node, setup);
        for (size_t at = next++; at < order.size(); at = next++) {
          const MixedRequest& request = requests_[order[at]];
          if (at % 7 == 0 && request.generate.has_value()) {
            Generate(*stub, *request.generate, [](const Answer& so_far) {
              return so_far.tokens.size() < 3;
            });
          }
          outcomes[order[at]] = Ask(*stub, request);
        }
      });
    }
    for (std::thread& client : clients) client.join();
    return outcomes;
  }

  // Fails where bits are promised and differ; prints what differs.
  void Report(const std::string& what, const std::vector<Outcome>& expected,
              const std::vector<Outcome>& got) {
    Apart all;
    int apart_requests = 0;
    for (size_t i = 0; i < requests_.size(); ++i) {
      ASSERT_TRUE(got[i].status.ok())
          << what << ", request " << i << ": " << got[i].status.error_message();
      const Apart apart = Compare(expected[i].tokens, got[i].tokens);
      if (GetParam().exact) {
        EXPECT_TRUE(apart.none())
            << what << ", request " << i << ", " << apart.first << "\n"
            << requests_[i].ToString();
      }
      apart_requests += !apart.none();
      all.Add(apart);
    }
    std::printf(
        "%s: %d of %zu requests differ; of %lld tokens %lld ids and %lld "
        "log-probs, the latter by at most %.1e\n",
        what.c_str(), apart_requests, requests_.size(),
        static_cast<long long>(all.tokens), static_cast<long long>(all.ids),
        static_cast<long long>(all.logprobs), all.largest);
  }

  const std::vector<MixedRequest> requests_ =
      MixedRequests(GetParam().requests, 5);
  std::vector<Outcome> alone_;  // one after the other, by one thread
};

INSTANTIATE_TEST_SUITE_P(
    Kinds, SameAnswer,
    testing::Values(Kind{DType::kInt8, DType::kF32, 100, true},
                    Kind{DType::kInt4, DType::kF32, 100, true},
                    Kind{DType::kInt4, DType::kBf16, 40, true},
                    Kind{DType::kBf16, DType::kF32, 40, false},
                    Kind{DType::kF32, DType::kF32, 40, false}),
    NameOfKind);

TEST_P(SameAnswer, InAnyCompanyChunksAndThreads) {
  std::mt19937 random(static_cast<uint32_t>(GetParam().dtype) + 5);
  NodeSetup small;  // every prompt in many chunks, most requests waiting
  small.max_batch_rows = 5 + random() % 12;
  small.max_running = 3 + random() % 3;
  NodeSetup middle;
  middle.threads = 2;
  middle.max_batch_rows = 24 + random() % 100;
  middle.max_running = 24;
  middle.over_tcp = true;
  NodeSetup large;  // prompts whole and beside each other
  large.max_batch_rows = 700 + random() % 700;
  large.threads = 2;
  large.trim_prefill = false;
  uint32_t seed = 0;
  for (const NodeSetup& setup : {middle, small, large}) {
    Report(setup.ToString(), alone_, AskTogether(setup, ++seed));
    if (!GetParam().exact) break;  // one count will do
  }
}

// A sequence that is begun again elsewhere is prefilled with its prompt and
// what was drawn. Seeded draws go on in any_steps_test.
TEST_P(SameAnswer, AfterReplay) {
  NodeSetup setup;
  setup.max_batch_rows = 61;
  setup.max_running = 8;
  auto node = Run(setup);
  ASSERT_NE(node, nullptr);
  auto stub = InProcessStub(*node);
  std::vector<Outcome> replayed;
  for (size_t i = 0; i < requests_.size(); ++i) {
    replayed.push_back(alone_[i]);
    std::vector<v1::Token>& tokens = replayed.back().tokens;
    if (!requests_[i].generate.has_value()) continue;
    // Every token of the answer, given those before it.
    v1::ScoreRequest score;
    *score.mutable_prompt() = requests_[i].generate->prompt();
    if (score.prompt().has_chat()) {
      score.mutable_prompt()->mutable_chat()->set_add_generation_prompt(true);
    }
    for (const v1::Token& token : tokens) {
      score.mutable_continuation_ids()->add_ids(token.id());
    }
    score.set_top_logprobs(requests_[i].generate->top_logprobs());
    const Scores scores = Score(*stub, score);
    ASSERT_TRUE(scores.status.ok()) << scores.status.error_message();
    tokens.assign(scores.tokens.end() - tokens.size(), scores.tokens.end());
    if (requests_[i].generate->sampling().temperature() > 0) continue;
    // The second half of a greedy answer, given the first.
    v1::GenerateRequest rest = *requests_[i].generate;
    const size_t half = tokens.size() / 2;
    const size_t known = scores.tokens.size() - tokens.size() + half;
    rest.mutable_prompt()->mutable_ids()->clear_ids();
    for (size_t at = 0; at < known; ++at) {
      rest.mutable_prompt()->mutable_ids()->add_ids(scores.tokens[at].id());
    }
    rest.set_max_tokens(rest.max_tokens() - half);
    const Answer answer = Generate(*stub, rest);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    tokens.resize(half);
    tokens.insert(tokens.end(), answer.tokens.begin(), answer.tokens.end());
  }
  Report("replayed", alone_, replayed);
}

}  // namespace
}  // namespace lapidary
