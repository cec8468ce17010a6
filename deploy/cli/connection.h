// A stub to talk to: a server's, or that of a node inside this process.
#ifndef LAPIDARY_DEPLOY_CLI_CONNECTION_H_
#define LAPIDARY_DEPLOY_CLI_CONNECTION_H_

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "actors/node.h"
#include "grpcpp/support/status.h"
#include "proto/lapidary/v1/lapidary.grpc.pb.h"

namespace lapidary::cli {

class Connection {
 public:
  // Connects to the server at `address`, "host:port". `model` is the name by
  // which it knows the model ("" for its only one), or a packed folder, whose
  // name is then taken.
  //
  // Errors: INVALID_ARGUMENT for what is no address; UNAVAILABLE if nobody
  // answers before `patience` is over.
  static absl::StatusOr<std::unique_ptr<Connection>> ToServer(
      const std::string& address, const std::string& model,
      std::chrono::seconds patience = std::chrono::seconds(5));
  // Starts a node for `options`; nothing is reachable from outside.
  static absl::StatusOr<std::unique_ptr<Connection>> InProcess(
      NodeOptions options);

  v1::Lapidary::Stub& stub() { return *stub_; }
  // For the `model` field of requests.
  const std::string& model() const { return model_; }

 private:
  Connection() = default;

  std::unique_ptr<Node> node_;  // outlives the channel in stub_
  std::unique_ptr<v1::Lapidary::Stub> stub_;
  std::string model_;
};

// The status of a finished call, with the code it had; but UNAVAILABLE, "the
// server went away", for whatever gRPC calls a lost connection.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_CONNECTION_H_
