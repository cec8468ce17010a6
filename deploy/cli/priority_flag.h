// --priority, of the commands that send a request which may have to wait.
#ifndef LAPIDARY_DEPLOY_CLI_PRIORITY_FLAG_H_
#define LAPIDARY_DEPLOY_CLI_PRIORITY_FLAG_H_

#include <string>

#include "deploy/cli/flags.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary::cli {

class PriorityFlag {
 public:
  void Define(FlagSet* flags);
  v1::Priority value() const;

 private:
  std::string priority_ = "normal";
};

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_PRIORITY_FLAG_H_
