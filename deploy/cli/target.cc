#include "deploy/cli/target.h"

namespace lapidary::cli {

void Target::Define(FlagSet* flags) {
  flags->Section("Where");
  flags->Text("server", "HOST:PORT",
              "Ask the lapidaryd there instead of opening the model here. "
              "MODEL is then a name that the server lists, or the packed "
              "folder it was started with, and may be left out.",
              &server_);
  node_.DefineCompute(flags);
}

absl::StatusOr<std::unique_ptr<Connection>> Target::Connect(
    const std::string& model) const {
  if (remote()) return Connection::ToServer(server_, model);
  absl::StatusOr<NodeOptions> options = node_.Options(model);
  if (!options.ok()) return options.status();
  return Connection::InProcess(*std::move(options));
}

}  // namespace lapidary::cli
