#include "deploy/cli/target.h"

#include "absl/strings/str_cat.h"

namespace lapidary::cli {

void Target::Define(FlagSet* flags) {
  flags->Section("Where");
  flags->Text("server", "HOST:PORT",
              "Ask the lapidaryd there instead of opening the model here. "
              "MODEL is then a name that the server lists, or the packed "
              "folder it was started with, and may be left out.",
              &server_);
  node_.DefineCompute(flags,
                      "Machine (not with --server; lapidaryd has its own)");
}

absl::Status Target::SplitArguments(const std::vector<std::string>& arguments,
                                    bool prompt_given, std::string* model,
                                    std::optional<std::string>* text) const {
  if (arguments.size() > 2) {
    return UsageError(
        absl::StrCat("too many arguments, from \"", arguments[2],
                     "\" on; put a text of several words in quotes"));
  }
  const bool lone = arguments.size() == 1 && !prompt_given;
  if (!arguments.empty() && !(lone && remote())) *model = arguments[0];
  if ((lone && remote()) || arguments.size() == 2) *text = arguments.back();
  if (model->empty() && !remote()) {
    return UsageError("MODEL, a packed folder, is missing");
  }
  if (lone && !remote() && !CheckFolder(*model, "").ok()) {
    return UsageError(absl::StrCat("\"", *model, "\" was taken for MODEL, but ",
                                   "there is no such folder; give a packed ",
                                   "folder or --server first"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Connection>> Target::Connect(
    const std::string& model) const {
  if (remote()) return Connection::ToServer(server_, model);
  absl::StatusOr<NodeOptions> options = node_.Options(model);
  if (!options.ok()) return options.status();
  return Connection::InProcess(*std::move(options));
}

}  // namespace lapidary::cli
