#include "tests/actors/nano_node.h"

#include <chrono>
#include <cstdlib>
#include <map>
#include <thread>

#include "gtest/gtest.h"
#include "tests/support/tiny_model.h"

namespace lapidary {

const std::string& PackedNano(kernels::DType dtype) {
  static const TempDir* const dir = [] {
    std::atexit([] { delete dir; });
    return new TempDir();
  }();
  static auto* const folders = new std::map<kernels::DType, std::string>();
  std::string& folder = (*folders)[dtype];
  if (folder.empty()) {
    auto packed = PackFolder(*dir, "deploy/models/nano", dtype);
    EXPECT_TRUE(packed.ok()) << packed.status();
    folder = packed.value_or("");
  }
  return folder;
}

NodeOptions NanoOptions(kernels::DType dtype) {
  NodeOptions options;
  options.model_folder = PackedNano(dtype);
  options.threads = 1;
  options.kv_memory_bytes = size_t{64} << 20;
  options.ple.direct_io = false;
  options.log = [](absl::string_view) {};
  return options;
}

std::unique_ptr<Node> StartNode(const NodeOptions& options) {
  auto node = Node::Start(options);
  EXPECT_TRUE(node.ok()) << node.status();
  return node.ok() ? *std::move(node) : nullptr;
}

std::unique_ptr<Stub> InProcessStub(Node& node) {
  return v1::Lapidary::NewStub(node.InProcessChannel());
}

v1::GenerateRequest Ask(const std::string& text, int32_t max_tokens) {
  v1::GenerateRequest request;
  v1::Message* message =
      request.mutable_prompt()->mutable_chat()->add_messages();
  message->set_role("user");
  message->add_parts()->set_text(text);
  request.mutable_sampling()->set_temperature(0);
  request.set_max_tokens(max_tokens);
  return request;
}

v1::GenerateRequest AskIds(const std::vector<int32_t>& ids,
                           int32_t max_tokens) {
  v1::GenerateRequest request;
  request.mutable_prompt()->mutable_ids()->mutable_ids()->Add(ids.begin(),
                                                              ids.end());
  request.mutable_sampling()->set_temperature(0);
  request.set_max_tokens(max_tokens);
  return request;
}

std::vector<int32_t> Answer::ids() const {
  std::vector<int32_t> ids;
  for (const v1::Token& token : tokens) ids.push_back(token.id());
  return ids;
}

Answer Generate(Stub& stub, const v1::GenerateRequest& request,
                const KeepOn& keep_on, int deadline_ms) {
  grpc::ClientContext context;
  if (deadline_ms > 0) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::milliseconds(deadline_ms));
  }
  auto reader = stub.Generate(&context, request);
  Answer answer;
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    if (response.has_final()) answer.final = response.final();
    for (const v1::Token& token : response.delta().tokens()) {
      answer.tokens.push_back(token);
    }
    if (!response.delta().text().empty()) {
      answer.deltas.push_back(response.delta().text());
      answer.text += response.delta().text();
    }
    if (keep_on && !keep_on(answer)) context.TryCancel();
  }
  answer.status = reader->Finish();
  const auto& trailing = context.GetServerTrailingMetadata();
  const auto pushback = trailing.find("grpc-retry-pushback-ms");
  if (pushback != trailing.end()) {
    answer.retry_after_ms = std::strtoll(
        std::string(pushback->second.data(), pushback->second.size()).c_str(),
        nullptr, 10);
  }
  return answer;
}

Scores Score(Stub& stub, const v1::ScoreRequest& request) {
  grpc::ClientContext context;
  auto reader = stub.Score(&context, request);
  Scores scores;
  v1::ScoreResponse response;
  while (reader->Read(&response)) {
    for (const v1::Token& token : response.tokens()) {
      scores.tokens.push_back(token);
    }
    if (response.has_summary()) scores.summary = response.summary();
  }
  scores.status = reader->Finish();
  return scores;
}

v1::StatusResponse GetStatus(Stub& stub) {
  grpc::ClientContext context;
  v1::StatusResponse response;
  const grpc::Status status =
      stub.Status(&context, v1::StatusRequest(), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

bool WaitFor(Stub& stub,
             const std::function<bool(const v1::StatusResponse&)>& done) {
  for (int i = 0; i < 3000; ++i) {
    if (done(GetStatus(stub))) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace lapidary
