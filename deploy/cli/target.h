// Where a command's requests go: MODEL on the command line is a packed folder
// that is opened here, or with --server a model of that server.
#ifndef LAPIDARY_DEPLOY_CLI_TARGET_H_
#define LAPIDARY_DEPLOY_CLI_TARGET_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "deploy/cli/connection.h"
#include "deploy/cli/flags.h"
#include "deploy/cli/node_flags.h"

namespace lapidary::cli {

inline constexpr char kDefaultAddress[] = "127.0.0.1:7421";

class Target {
 public:
  void Define(FlagSet* flags);
  bool remote() const { return !server_.empty(); }
  // Splits a command's arguments, MODEL and a text. With a server MODEL may be
  // left out: a lone argument is then the text, unless a flag gives the prompt.
  //
  // Errors: of usage; a lone text without a server is named as one.
  absl::Status SplitArguments(const std::vector<std::string>& arguments,
                              bool prompt_given, std::string* model,
                              std::optional<std::string>* text) const;
  absl::StatusOr<std::unique_ptr<Connection>> Connect(
      const std::string& model) const;

 private:
  std::string server_;
  NodeFlags node_;
};

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_TARGET_H_
