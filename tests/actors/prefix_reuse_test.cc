// Prompts that begin alike, answered by a whole node: that the answers are
// those of a node which keeps nothing, to the bit, and that prefixes are used.
#include <algorithm>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/actors/nano_node.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

NodeOptions OptionsOf(kernels::DType dtype, const TempDir& dir) {
  NodeOptions options = NanoOptions();
  auto packed = PackFolder(dir, "deploy/models/nano", dtype);
  EXPECT_TRUE(packed.ok()) << packed.status();
  options.model_folder = packed.value_or("");
  return options;
}

// A conversation goes on from any earlier one, or branches inside it.
std::vector<v1::GenerateRequest> Conversations(int count) {
  std::mt19937 random(11);
  const auto below = [&](int n) { return static_cast<int>(random() % n); };
  std::vector<std::vector<int32_t>> histories = {{2}};
  std::vector<v1::GenerateRequest> requests;
  for (int i = 0; i < count; ++i) {
    std::vector<int32_t> ids = histories[below(histories.size())];
    if (below(3) == 0) ids.resize(1 + below(ids.size()));
    for (int n = 1 + below(130); n > 0; --n) ids.push_back(300 + below(2000));
    if (ids.size() > 900) ids.resize(200);
    histories.push_back(ids);
    v1::GenerateRequest request = AskIds(ids, 1 + below(70));
    request.set_ignore_eos(true);
    request.set_top_logprobs(2);
    v1::Sampling* sampling = request.mutable_sampling();
    sampling->set_temperature(below(2) == 0 ? 0 : 1.3f);
    sampling->set_repetition_penalty(1.2f);
    sampling->set_seed(1000 + i);
    requests.push_back(request);
  }
  return requests;
}

void ExpectSame(const Answer& got, const Answer& want, int number) {
  ASSERT_TRUE(got.status.ok()) << got.status.error_message();
  ASSERT_EQ(got.ids(), want.ids()) << "request " << number;
  for (size_t t = 0; t < want.tokens.size(); ++t) {
    ASSERT_EQ(got.tokens[t].SerializeAsString(),
              want.tokens[t].SerializeAsString())
        << "request " << number << ", token " << t;
  }
}

void ExpectReuseChangesNothing(kernels::DType dtype) {
  const TempDir dir;
  NodeOptions options = OptionsOf(dtype, dir);
  options.prefix_cache_bytes = 0;
  std::unique_ptr<Node> plain = StartNode(options);
  options.prefix_cache_bytes = size_t{3} << 20;  // what is kept must be chosen
  options.max_batch_rows = 100;
  std::unique_ptr<Node> reusing = StartNode(options);
  ASSERT_TRUE(plain != nullptr && reusing != nullptr);
  auto plain_stub = InProcessStub(*plain);
  const auto requests = Conversations(60);
  std::vector<Answer> want;
  for (const auto& request : requests) {
    want.push_back(Generate(*plain_stub, request));
  }
  std::vector<Answer> got(requests.size());
  std::vector<std::thread> clients;
  for (size_t client = 0; client < 3; ++client) {
    clients.emplace_back([&, client] {
      auto stub = InProcessStub(*reusing);
      for (size_t i = client; i < requests.size(); i += 3) {
        got[i] = Generate(*stub, requests[i]);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  int reused = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    ExpectSame(got[i], want[i], static_cast<int>(i));
    reused += got[i].final.usage().cached_prompt_tokens() > 0 ? 1 : 0;
    EXPECT_EQ(want[i].final.usage().cached_prompt_tokens(), 0);
  }
  EXPECT_GT(reused, 5);
  auto stub = InProcessStub(*reusing);
  const v1::PrefixCache cache = GetStatus(*stub).prefix_cache();
  EXPECT_EQ(cache.hits(), static_cast<uint64_t>(reused));
  EXPECT_EQ(cache.lookups(), requests.size());
  EXPECT_GT(cache.evictions(), 0u);
  EXPECT_GT(cache.bytes(), 0u);
  EXPECT_LE(cache.bytes(), cache.capacity());
  EXPECT_LE(cache.capacity(), size_t{3} << 20);
}

TEST(PrefixReuseTest, Int8_AnswersAreThoseOfANodeThatKeepsNothing) {
  ExpectReuseChangesNothing(kernels::DType::kInt8);
}

TEST(PrefixReuseTest, Int4_AnswersAreThoseOfANodeThatKeepsNothing) {
  ExpectReuseChangesNothing(kernels::DType::kInt4);
}

TEST(PrefixReuseTest, TheNextTurnSaysWhatItReused_UnlessItIsNotTo) {
  std::unique_ptr<Node> node = StartNode(NanoOptions());
  ASSERT_NE(node, nullptr);
  auto stub = InProcessStub(*node);
  v1::GenerateRequest request = Ask(
      "Anna has the owl. Ben has the key. Remember the dog. Carl has the cat. "
      "Anna has the rocket. Ben has the owl. Carl has the key. Anna has the "
      "cat. Ben has the dog. Carl has the owl. What should you remember?",
      100);
  request.set_ignore_eos(true);
  const Answer first = Generate(*stub, request);
  ASSERT_TRUE(first.status.ok()) << first.status.error_message();
  EXPECT_EQ(first.final.usage().cached_prompt_tokens(), 0);
  v1::Chat* chat = request.mutable_prompt()->mutable_chat();
  v1::Message* answer = chat->add_messages();
  answer->set_role("assistant");
  answer->add_parts()->set_text("dog");
  v1::Message* next = chat->add_messages();
  next->set_role("user");
  next->add_parts()->set_text("Translate dog to French.");
  const Answer second = Generate(*stub, request);
  ASSERT_TRUE(second.status.ok());
  const int32_t prompt = first.final.usage().prompt_tokens();
  EXPECT_EQ(second.final.usage().cached_prompt_tokens(), prompt / 64 * 64);
  EXPECT_GE(prompt, 64);
  request.set_no_prefix_cache(true);
  const Answer third = Generate(*stub, request);
  EXPECT_EQ(third.final.usage().cached_prompt_tokens(), 0);
  EXPECT_EQ(third.text, second.text);
  request.set_no_prefix_cache(false);
  ASSERT_TRUE(node->KillRole("stage").ok());
  Answer after = Generate(*stub, request);
  while (after.status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    after = Generate(*stub, request);
  }
  EXPECT_EQ(after.final.usage().cached_prompt_tokens(), 0);
  EXPECT_EQ(after.text, second.text);
}

}  // namespace
}  // namespace lapidary
