// What is lost when something goes wrong: the requests that needed it, and
// nothing after them.
#include <atomic>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

v1::GenerateRequest Endless() {
  v1::GenerateRequest request = Ask("Tell me about the owl.", 4000);
  request.set_ignore_eos(true);
  return request;
}

bool Idle(const v1::StatusResponse& status) {
  return status.queue().running() == 0 && status.queue().queued() == 0 &&
         status.memory().kv_pages_in_use() == 0;
}

// All alive, and `role` for the second time.
std::function<bool(const v1::StatusResponse&)> Restarted(
    const std::string& role) {
  return [role](const v1::StatusResponse& status) {
    bool restarted = false;
    for (const v1::Role& entry : status.roles()) {
      if (!entry.alive()) return false;
      if (entry.name() == role) restarted = entry.restarts() == 1;
    }
    return restarted;
  };
}

TEST(FailureTest, CancelFreesPagesWithinOneStep) {
  auto node = StartNode(NanoOptions());
  auto stub = InProcessStub(*node);
  const Answer answer = Generate(*stub, Endless(), [](const Answer& so_far) {
    return so_far.tokens.size() < 20;
  });
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(WaitFor(*stub, Idle));
  const v1::StatusResponse status = GetStatus(*stub);
  EXPECT_EQ(status.queue().cancelled(), 1u);
  // Had it run on, it would have drawn 4000 tokens.
  EXPECT_LT(status.queue().completion_tokens(), 1000u);
}

TEST(FailureTest, CallDeadlineEndsTheWork) {
  auto node = StartNode(NanoOptions());
  auto stub = InProcessStub(*node);
  const Answer answer = Generate(*stub, Endless(), nullptr, 150);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(WaitFor(*stub, Idle));
}

TEST(FailureTest, TimeLimitEndsTheAnswerWithoutAnError) {
  auto node = StartNode(NanoOptions());
  auto stub = InProcessStub(*node);
  v1::GenerateRequest request = Endless();
  request.set_time_limit_ms(150);
  const Answer answer = Generate(*stub, request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.final.stop_reason(), v1::STOP_REASON_DEADLINE);
  EXPECT_EQ(answer.final.usage().completion_tokens(),
            static_cast<int>(answer.tokens.size()));
  EXPECT_TRUE(WaitFor(*stub, Idle));
}

TEST(FailureTest, TwoHundredCancelsAndDeadlinesLeaveNoPage) {
  NodeOptions options = NanoOptions();
  options.kv_memory_bytes = size_t{16} << 20;  // some wait for pages
  options.max_running = 24;
  auto node = StartNode(options);
  std::atomic<int> next{0}, failed{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < 20; ++c) {
    clients.emplace_back([&] {
      auto stub = InProcessStub(*node);
      for (int i = next++; i < 200; i = next++) {
        std::mt19937 random(i);
        v1::GenerateRequest request =
            AskIds(std::vector<int32_t>(1 + random() % 700, 10 + i), 200);
        request.set_ignore_eos(true);
        const size_t keep = random() % 30;
        const int deadline = i % 2 == 0 ? 1 + random() % 400 : 0;
        const Answer answer = Generate(
            *stub, request,
            [&](const Answer& so_far) {
              return deadline > 0 || so_far.tokens.size() < keep;
            },
            deadline);
        const auto code = answer.status.error_code();
        // A deadline that cannot be met is refused at the door.
        if (deadline > 0 && code == grpc::StatusCode::RESOURCE_EXHAUSTED) {
          continue;
        }
        if (code != grpc::StatusCode::CANCELLED &&
            code != grpc::StatusCode::DEADLINE_EXCEEDED && code != 0) {
          ADD_FAILURE() << answer.status.error_message();
          ++failed;
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  auto stub = InProcessStub(*node);
  EXPECT_TRUE(WaitFor(*stub, Idle)) << GetStatus(*stub).DebugString();
  EXPECT_EQ(failed, 0);
  const Answer after = Generate(*stub, Ask("Translate cat to French.", 16));
  EXPECT_EQ(after.text, "chat");
}

TEST(FailureTest, KilledPleServerFailsItsRequestsAndComesBack) {
  auto node = StartNode(NanoOptions());
  auto stub = InProcessStub(*node);
  bool killed = false;
  const Answer answer = Generate(*stub, Endless(), [&](const Answer& so_far) {
    if (so_far.tokens.size() >= 5 && !killed) {
      killed = true;
      EXPECT_TRUE(node->KillRole("ple_server").ok());
    }
    return true;
  });
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_NE(answer.status.error_message().find("ple_server"), std::string::npos)
      << answer.status.error_message();
  EXPECT_TRUE(WaitFor(*stub, Restarted("ple_server")));
  EXPECT_TRUE(WaitFor(*stub, Idle));
  const Answer after = Generate(*stub, Ask("Translate cat to French.", 16));
  EXPECT_EQ(after.text, "chat") << after.status.error_message();
  const v1::StatusResponse status = GetStatus(*stub);
  for (const v1::Role& role : status.roles()) {
    EXPECT_EQ(role.restarts(), role.name() == "ple_server" ? 1 : 0);
  }
}

TEST(FailureTest, EveryRoleThatRunsARequestCanBeLostAndComesBack) {
  auto node = StartNode(NanoOptions());
  auto stub = InProcessStub(*node);
  for (const char* role : {"ple_server", "stage", "sequencer"}) {
    std::thread client([&] {
      auto own = InProcessStub(*node);
      EXPECT_EQ(Generate(*own, Endless()).status.error_code(),
                grpc::StatusCode::UNAVAILABLE)
          << role;
    });
    EXPECT_TRUE(WaitFor(*stub, [](const v1::StatusResponse& status) {
      return status.queue().running() == 1;
    }));
    EXPECT_TRUE(node->KillRole(role).ok());
    client.join();
    EXPECT_TRUE(WaitFor(*stub, Restarted(role)));
    EXPECT_TRUE(WaitFor(*stub, Idle)) << role;
    const Answer after = Generate(*stub, Ask("Translate cat to French.", 16));
    EXPECT_EQ(after.text, "chat") << role << after.status.error_message();
  }
}

TEST(FailureTest, LosingTheEncoderCostsARunningRequestNothing) {
  auto node = StartNode(NanoOptions());
  auto stub = InProcessStub(*node);
  v1::GenerateRequest request = Ask("Tell me about the owl.", 200);
  request.set_ignore_eos(true);
  bool killed = false;
  const Answer answer = Generate(*stub, request, [&](const Answer&) {
    if (!std::exchange(killed, true)) {
      EXPECT_TRUE(node->KillRole("encoder").ok());
    }
    return true;
  });
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.tokens.size(), 200u);
  EXPECT_TRUE(WaitFor(*stub, Restarted("encoder")));
  EXPECT_EQ(Generate(*stub, Ask("Translate cat to French.", 16)).text, "chat");
}

TEST(FailureTest, UnknownRoleIsNotKilled) {
  auto node = StartNode(NanoOptions());
  EXPECT_EQ(node->KillRole("jeweller").code(), absl::StatusCode::kNotFound);
}

TEST(FailureTest, FullQueueRefusesAtTheDoor) {
  NodeOptions options = NanoOptions();
  options.max_running = 1;
  options.max_queued = 2;
  auto node = StartNode(options);
  auto stub = InProcessStub(*node);
  std::vector<std::thread> clients;
  std::atomic<bool> stop{false};
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      auto own = InProcessStub(*node);
      grpc::ClientContext context;
      auto reader = own->Generate(&context, Endless());
      while (!stop) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      context.TryCancel();
      reader->Finish();
    });
  }
  EXPECT_TRUE(WaitFor(*stub, [](const v1::StatusResponse& status) {
    return status.queue().running() == 1 && status.queue().queued() == 2;
  }));
  const Answer refused = Generate(*stub, Ask("Translate cat.", 4));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(refused.status.error_message().find("queue is full (2"),
            std::string::npos)
      << refused.status.error_message();
  EXPECT_GE(refused.retry_after_ms.value_or(0), 50);
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(WaitFor(*stub, Idle));
}

}  // namespace
}  // namespace lapidary
