#include "deploy/cli/generate.h"

#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "deploy/cli/interrupt.h"
#include "grpcpp/client_context.h"

namespace lapidary::cli {

absl::StatusOr<Answer> Generate(
    Connection* connection, v1::GenerateRequest request,
    const std::function<void(absl::string_view text)>& on_text) {
  request.set_model(connection->model());
  grpc::ClientContext context;
  CancelOnInterrupt cancel([&context] { context.TryCancel(); });
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> stream =
      connection->stub().Generate(&context, request);
  Answer answer;
  bool ended = false;
  v1::GenerateResponse response;
  while (stream->Read(&response)) {
    if (response.has_final()) {
      answer.final = std::move(*response.mutable_final());
      ended = true;
      continue;
    }
    const v1::Delta& delta = response.delta();
    if (!delta.text().empty()) on_text(delta.text());
    answer.text += delta.text();
    answer.tokens.insert(answer.tokens.end(), delta.tokens().begin(),
                         delta.tokens().end());
  }
  const absl::Status status = FromGrpc(stream->Finish());
  if (cancel.interrupted()) return absl::CancelledError("cancelled");
  if (!status.ok()) return status;
  if (!ended) {
    return absl::InternalError("the server ended the answer without an end");
  }
  return answer;
}

std::string Summary(const v1::Final& final) {
  const v1::Timings& timings = final.timings();
  return absl::StrFormat(
      "%d tokens at %.0f tokens/s, the first after %.0f ms; prompt of %d "
      "tokens",
      final.usage().completion_tokens(), timings.decode_tokens_per_second(),
      timings.time_to_first_token_ms(), final.usage().prompt_tokens());
}

}  // namespace lapidary::cli
