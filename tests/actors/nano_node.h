// A node that serves the bundled model, and its client, for tests.
#ifndef LAPIDARY_TESTS_ACTORS_NANO_NODE_H_
#define LAPIDARY_TESTS_ACTORS_NANO_NODE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/node.h"
#include "grpcpp/grpcpp.h"
#include "kernels/tensor.h"
#include "proto/lapidary/v1/lapidary.grpc.pb.h"

namespace lapidary {

// The bundled model, packed once a process and dtype.
const std::string& PackedNano(kernels::DType dtype = kernels::DType::kF32);

// Small and quiet; listens on no port.
NodeOptions NanoOptions(kernels::DType dtype = kernels::DType::kF32);

// Started with `options`; the test fails if it does not start.
std::unique_ptr<Node> StartNode(const NodeOptions& options);

using Stub = v1::Lapidary::Stub;

std::unique_ptr<Stub> InProcessStub(Node& node);

// One turn of the user, greedy.
v1::GenerateRequest Ask(const std::string& text, int32_t max_tokens);
// The same of ids.
v1::GenerateRequest AskIds(const std::vector<int32_t>& ids, int32_t max_tokens);

// What came of a Generate call.
struct Answer {
  grpc::Status status;
  std::vector<v1::Token> tokens;
  std::string text;
  std::vector<std::string> deltas;  // those with text
  v1::Final final;
  // Of grpc-retry-pushback-ms; nothing where it was not sent.
  std::optional<int64_t> retry_after_ms;

  std::vector<int32_t> ids() const;
};

// Called after every message; false cancels the call.
using KeepOn = std::function<bool(const Answer& so_far)>;

Answer Generate(Stub& stub, const v1::GenerateRequest& request,
                const KeepOn& keep_on = nullptr, int deadline_ms = 0);

struct Scores {
  grpc::Status status;
  std::vector<v1::Token> tokens;
  v1::ScoreSummary summary;
};

Scores Score(Stub& stub, const v1::ScoreRequest& request);

v1::StatusResponse GetStatus(Stub& stub);

// Asks until `done` holds, at most half a minute.
bool WaitFor(Stub& stub,
             const std::function<bool(const v1::StatusResponse&)>& done);

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_ACTORS_NANO_NODE_H_
