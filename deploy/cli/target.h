// Where a command's requests go: MODEL on the command line is a packed folder
// that is opened here, or with --server a model of that server.
#ifndef LAPIDARY_DEPLOY_CLI_TARGET_H_
#define LAPIDARY_DEPLOY_CLI_TARGET_H_

#include <memory>
#include <string>

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
  absl::StatusOr<std::unique_ptr<Connection>> Connect(
      const std::string& model) const;

 private:
  std::string server_;
  NodeFlags node_;
};

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_TARGET_H_
