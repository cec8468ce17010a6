// More requests than the node can take: what is let in is answered, the rest is
// refused at once and told when to come back.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

TEST(OverloadTest, WhatIsLetInIsAnsweredAndTheRestToldWhenToComeBack) {
  NodeOptions options = NanoOptions();
  options.max_running = 2;
  options.max_queued = 4;
  auto node = StartNode(options);
  constexpr int kClients = 24;
  constexpr int kCalls = 10;
  constexpr int kTokens = 40;
  std::atomic<int> answered{0}, refused{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      auto stub = InProcessStub(*node);
      for (int i = 0; i < kCalls; ++i) {
        v1::GenerateRequest request =
            AskIds(std::vector<int32_t>(20 + 8 * c, 300 + i), kTokens);
        request.set_ignore_eos(true);
        const Answer answer = Generate(*stub, request);
        if (answer.status.ok()) {
          EXPECT_EQ(answer.tokens.size(), size_t{kTokens});
          ++answered;
          continue;
        }
        EXPECT_EQ(answer.status.error_code(),
                  grpc::StatusCode::RESOURCE_EXHAUSTED)
            << answer.status.error_message();
        EXPECT_TRUE(answer.tokens.empty());
        EXPECT_GT(answer.retry_after_ms.value_or(0), 0);
        ++refused;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_GT(refused, 0);
  // At least what fits at once; each client that is refused comes again.
  EXPECT_GE(answered, 6);
  EXPECT_EQ(answered + refused, kClients * kCalls);
  auto stub = InProcessStub(*node);
  const v1::StatusResponse status = GetStatus(*stub);
  EXPECT_EQ(status.queue().completed(), static_cast<uint64_t>(answered));
  EXPECT_EQ(status.queue().failed(), 0u);
  EXPECT_EQ(status.queue().refused_queue_full(),
            static_cast<uint64_t>(refused));
  EXPECT_GT(status.step_costs().decode_step_ms(), 0);
}

}  // namespace
}  // namespace lapidary
