// The node as a server on a real port: what stands around the calls.
#include <dirent.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

int Threads() {
  int threads = 0;
  DIR* tasks = opendir("/proc/self/task");
  while (readdir(tasks) != nullptr) ++threads;
  closedir(tasks);
  return threads - 2;  // . and ..
}

NodeOptions Listening() {
  NodeOptions options = NanoOptions();
  options.listen_address = "127.0.0.1:0";
  return options;
}

std::shared_ptr<grpc::Channel> Connect(const Node& node) {
  return grpc::CreateChannel(absl::StrCat("127.0.0.1:", node.port()),
                             grpc::InsecureChannelCredentials());
}

// A call of a service whose stub we have not, by hand: Health.Check{} and
// reflection's first question are a few bytes of Protobuf.
std::string CallRaw(grpc::Channel& channel, const std::string& method,
                    const std::string& request) {
  grpc::ClientContext context;
  const grpc::Slice slice(request);
  const grpc::ByteBuffer message(&slice, 1);
  grpc::CompletionQueue queue;
  grpc::internal::RpcMethod rpc(method.c_str(),
                                grpc::internal::RpcMethod::BIDI_STREAMING);
  std::unique_ptr<
      grpc::ClientAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>>
      call(grpc::internal::ClientAsyncReaderWriterFactory<
           grpc::ByteBuffer, grpc::ByteBuffer>::Create(&channel, &queue, rpc,
                                                       &context, true,
                                                       nullptr));
  const auto next = [&] {
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return ok;
  };
  next();  // started
  call->Write(message, nullptr);
  next();
  call->WritesDone(nullptr);
  next();
  grpc::ByteBuffer response;
  call->Read(&response, nullptr);
  std::string bytes;
  if (next()) {
    std::vector<grpc::Slice> slices;
    response.Dump(&slices);
    for (const grpc::Slice& s : slices) {
      bytes.append(reinterpret_cast<const char*>(s.begin()), s.size());
    }
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  EXPECT_TRUE(status.ok()) << method << ": " << status.error_message();
  return bytes;
}

bool Serving(grpc::Channel& channel) {
  // HealthCheckResponse{status: SERVING}
  return CallRaw(channel, "/grpc.health.v1.Health/Check", "") == "\x08\x01";
}

TEST(ServerTest, AnswersOverTheNetwork) {
  auto node = StartNode(Listening());
  ASSERT_GT(node->port(), 0);
  auto stub = v1::Lapidary::NewStub(Connect(*node));
  const Answer answer = Generate(*stub, Ask("Translate cat to French.", 16));
  EXPECT_EQ(answer.text, "chat") << answer.status.error_message();
}

TEST(ServerTest, HealthFollowsTheRoles) {
  auto node = StartNode(Listening());
  auto channel = Connect(*node);
  auto stub = v1::Lapidary::NewStub(channel);
  ASSERT_TRUE(WaitFor(
      *stub, [&](const v1::StatusResponse&) { return Serving(*channel); }));
  ASSERT_TRUE(node->KillRole("ple_server").ok());
  EXPECT_TRUE(WaitFor(
      *stub, [&](const v1::StatusResponse&) { return !Serving(*channel); }));
  EXPECT_TRUE(WaitFor(
      *stub, [&](const v1::StatusResponse&) { return Serving(*channel); }));
}

TEST(ServerTest, ReflectionListsTheService) {
  auto node = StartNode(Listening());
  auto channel = Connect(*node);
  // ServerReflectionRequest{list_services: "*"}
  const std::string services =
      CallRaw(*channel,
              "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              "\x3a\x01*");
  EXPECT_NE(services.find("lapidary.v1.Lapidary"), std::string::npos);
  // ServerReflectionRequest{file_containing_symbol: …}
  const std::string file =
      CallRaw(*channel,
              "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              absl::StrCat("\x22\x14", "lapidary.v1.Lapidary"));
  EXPECT_NE(file.find("GenerateRequest"), std::string::npos);
}

TEST(ServerTest, BusyPortIsRefused) {
  auto node = StartNode(Listening());
  NodeOptions options = NanoOptions();
  options.listen_address = absl::StrCat("127.0.0.1:", node->port());
  const auto second = Node::Start(options);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  const std::string message(second.status().message());
  EXPECT_NE(message.find(options.listen_address), std::string::npos);
  EXPECT_NE(message.find("Address already in use"), std::string::npos)
      << message;
}

TEST(ServerTest, ThousandIdleStreamsTakeNoThreads) {
  NodeOptions options = Listening();
  options.max_running = 1;
  options.max_queued = 1100;
  auto node = StartNode(options);
  auto channel = Connect(*node);
  auto stub = v1::Lapidary::NewStub(channel);
  ASSERT_TRUE(Generate(*stub, Ask("Translate cat.", 4)).status.ok());

  v1::GenerateRequest endless = Ask("Tell me about the owl.", 4000);
  endless.set_ignore_eos(true);
  // One queue and one thread of ours for all of them.
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientAsyncReader<v1::GenerateResponse>>>
      calls;
  const auto open = [&] {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    calls.push_back(
        stub->AsyncGenerate(contexts.back().get(), endless, &queue, nullptr));
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    ASSERT_TRUE(ok);
  };
  for (int i = 0; i < 10; ++i) open();
  ASSERT_TRUE(WaitFor(*stub, [](const v1::StatusResponse& status) {
    return status.queue().queued() == 9;
  }));
  const int before = Threads();
  for (int i = 0; i < 1000; ++i) open();
  ASSERT_TRUE(WaitFor(*stub, [](const v1::StatusResponse& status) {
    return status.queue().queued() == 1009;
  }));
  EXPECT_LE(Threads(), before + 4);

  for (auto& context : contexts) context->TryCancel();
  std::vector<grpc::Status> statuses(calls.size());
  for (size_t i = 0; i < calls.size(); ++i) {
    calls[i]->Finish(&statuses[i], nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    EXPECT_EQ(statuses[i].error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_TRUE(WaitFor(*stub, [](const v1::StatusResponse& status) {
    return status.queue().running() == 0 && status.queue().queued() == 0 &&
           status.memory().kv_pages_in_use() == 0;
  }));
}

TEST(ServerTest, ShutdownEndsRunningCalls) {
  auto node = StartNode(Listening());
  auto stub = v1::Lapidary::NewStub(Connect(*node));
  v1::GenerateRequest endless = Ask("Tell me about the owl.", 4000);
  endless.set_ignore_eos(true);
  std::thread stopper;
  const Answer answer = Generate(*stub, endless, [&](const Answer& so_far) {
    if (so_far.tokens.size() >= 5 && !stopper.joinable()) {
      stopper = std::thread([&] { node->Shutdown(absl::Milliseconds(50)); });
    }
    return true;
  });
  stopper.join();
  EXPECT_FALSE(answer.status.ok());
  const Answer after = Generate(*stub, Ask("Translate cat.", 4));
  EXPECT_EQ(after.status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(ServerTest, ShutdownLetsShortCallsFinish) {
  auto node = StartNode(Listening());
  auto stub = v1::Lapidary::NewStub(Connect(*node));
  std::thread stopper;
  const Answer answer =
      Generate(*stub, Ask("Tell me about the owl.", 24), [&](const Answer&) {
        if (!stopper.joinable()) {
          stopper = std::thread([&] { node->Shutdown(absl::Seconds(30)); });
        }
        return true;
      });
  stopper.join();
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
}

TEST(ServerTest, StartNamesWhatIsWrong) {
  NodeOptions options = NanoOptions();
  options.model_folder = "/nowhere/at/all";
  EXPECT_EQ(Node::Start(options).status().code(), absl::StatusCode::kNotFound);
  options = NanoOptions();
  options.max_running = 10000;
  EXPECT_EQ(Node::Start(options).status().code(),
            absl::StatusCode::kInvalidArgument);
  options = NanoOptions();
  options.kv_memory_bytes = 1000;
  EXPECT_EQ(Node::Start(options).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lapidary
