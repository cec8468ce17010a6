#include "deploy/cli/bench_client.h"

#include <memory>
#include <thread>

#include "absl/status/status.h"
#include "deploy/cli/interrupt.h"
#include "grpcpp/client_context.h"

namespace lapidary::cli {
namespace {

absl::Status Follow(Connection* connection, grpc::ClientContext* context,
                    const v1::GenerateRequest& request,
                    const std::function<void(size_t tokens)>& on_tokens,
                    TimedAnswer* answer) {
  answer->sent = std::chrono::steady_clock::now();
  auto stream = connection->stub().Generate(context, request);
  v1::GenerateResponse response;
  while (stream->Read(&response)) {
    const auto now = std::chrono::steady_clock::now();
    if (response.has_final()) answer->timings = response.final().timings();
    const int tokens = response.delta().tokens_size();
    answer->tokens.insert(answer->tokens.end(), tokens, now);
    if (tokens > 0 && on_tokens) on_tokens(answer->tokens.size());
  }
  return FromGrpc(stream->Finish());
}

}  // namespace

double SecondsBetween(BenchTime from, BenchTime to) {
  return std::chrono::duration<double>(to - from).count();
}

absl::StatusOr<std::vector<TimedAnswer>> SendTogether(
    Connection* connection, const std::vector<v1::GenerateRequest>& requests,
    const std::function<void(size_t tokens)>& on_tokens) {
  const size_t count = requests.size();
  std::vector<TimedAnswer> answers(count);
  std::vector<absl::Status> statuses(count);
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  for (size_t i = 0; i < count; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
  }
  CancelOnInterrupt cancel([&contexts] {
    for (const auto& context : contexts) context->TryCancel();
  });
  std::vector<std::thread> clients;
  for (size_t i = 0; i < count; ++i) {
    clients.emplace_back([&, i] {
      statuses[i] = Follow(connection, contexts[i].get(), requests[i],
                           i == 0 ? on_tokens : nullptr, &answers[i]);
    });
  }
  for (std::thread& client : clients) client.join();
  if (cancel.interrupted()) return absl::CancelledError("cancelled");
  for (const absl::Status& status : statuses) {
    if (!status.ok()) return status;
  }
  return answers;
}

absl::StatusOr<v1::StatusResponse> AskStatus(Connection* connection) {
  grpc::ClientContext context;
  v1::StatusResponse status;
  absl::Status asked =
      FromGrpc(connection->stub().Status(&context, {}, &status));
  if (!asked.ok()) return asked;
  return status;
}

}  // namespace lapidary::cli
