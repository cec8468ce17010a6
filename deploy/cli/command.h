// One command of `lapidary`: its help page, its flags and what it does.
#ifndef LAPIDARY_DEPLOY_CLI_COMMAND_H_
#define LAPIDARY_DEPLOY_CLI_COMMAND_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "deploy/cli/flags.h"

namespace lapidary::cli {

struct CommandHelp {
  std::string name;
  std::string summary;    // one line, shown in the list of commands
  std::string arguments;  // "MODEL [QUESTION]"
  std::string details;    // paragraphs; "" for none
  std::vector<std::string> examples;
};

class Command {
 public:
  virtual ~Command() = default;
  virtual CommandHelp Help() const = 0;
  virtual void DefineFlags(FlagSet* flags) = 0;
  // Called once, after the flags have been set. Answers go to stdout; the
  // returned error is shown by the caller. CANCELLED: the user pressed ^C.
  virtual absl::Status Run(const std::vector<std::string>& arguments) = 0;
};

std::unique_ptr<Command> MakePackCommand();
std::unique_ptr<Command> MakeRunCommand();
std::unique_ptr<Command> MakeChatCommand();
std::unique_ptr<Command> MakeListenCommand();
std::unique_ptr<Command> MakeScoreCommand();
std::unique_ptr<Command> MakeTokenizeCommand();
std::unique_ptr<Command> MakeInspectCommand();
std::unique_ptr<Command> MakeStatusCommand();
std::unique_ptr<Command> MakeSynthCommand();
std::unique_ptr<Command> MakeBenchCommand();

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_COMMAND_H_
