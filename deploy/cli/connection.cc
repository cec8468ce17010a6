#include "deploy/cli/connection.h"

#include <sys/stat.h>

#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "deploy/cli/flags.h"
#include "grpcpp/channel.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "storage/packed_model.h"

namespace lapidary::cli {
namespace {

bool IsFolder(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// Whether gRPC itself says so, in words that tell a user nothing: the
// connection or the server's end of the call is gone. A server that lost a peer
// has such words as well, but only after its own.
bool IsLostConnection(const grpc::Status& status) {
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE &&
      status.error_code() != grpc::StatusCode::CANCELLED) {
    return false;
  }
  const std::string message = status.error_message();
  for (const char* words :
       {"Cancelling all calls", "Socket closed", "RST_STREAM",
        "Received RST_STREAM", "GOAWAY", "Connection reset",
        "recvmsg:", "sendmsg:", "Connection refused", "Broken pipe",
        "failed to connect", "CANCELLED"}) {
    if (absl::StartsWith(message, words)) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Connection>> Connection::ToServer(
    const std::string& address, const std::string& model,
    std::chrono::seconds patience) {
  int port = 0;
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 1 ||
      port > 65535) {
    return UsageError(absl::StrCat(
        "--server=", address, ": HOST:PORT is wanted, as in 127.0.0.1:7421"));
  }
  auto connection = std::unique_ptr<Connection>(new Connection);
  connection->model_ = model;
  if (IsFolder(model)) {
    auto packed = PackedModel::Open(model, PackedModelOptions());
    if (!packed.ok()) return packed.status();
    connection->model_ = (*packed)->name();
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  // A proxy for the web knows nothing of this server.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  std::shared_ptr<grpc::Channel> channel = grpc::CreateCustomChannel(
      address, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + patience)) {
    return absl::UnavailableError(absl::StrCat(
        "nobody answers at ", address, " after ", patience.count(),
        " s; start a server: lapidaryd --model=FOLDER --listen=", address));
  }
  connection->stub_ = v1::Lapidary::NewStub(channel);
  return connection;
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::InProcess(
    NodeOptions options) {
  // This process has one client, who sees every error as an answer.
  options.log = [](absl::string_view) {};
  auto connection = std::unique_ptr<Connection>(new Connection);
  absl::StatusOr<std::unique_ptr<Node>> node = Node::Start(options);
  if (!node.ok()) return node.status();
  connection->node_ = *std::move(node);
  connection->stub_ =
      v1::Lapidary::NewStub(connection->node_->InProcessChannel());
  return connection;
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (IsLostConnection(status)) {
    return absl::UnavailableError(absl::StrCat(
        "the server went away (", status.error_message(),
        "); ask again when it is back: lapidary status shows whether it is"));
  }
  std::string message = status.error_message();
  // gRPC's own words, which name no remedy.
  if (absl::StartsWith(message, "Received message larger than max")) {
    message +=
        "; send fewer or smaller files: a long sound as FLAC, Ogg or MP3, or "
        "by lapidary listen (lapidaryd --max-message sets the limit)";
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      message);
}

}  // namespace lapidary::cli
