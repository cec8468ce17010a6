#include "deploy/cli/app.h"

#include <stdlib.h>

#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "deploy/cli/command.h"

namespace lapidary::cli {
namespace {

std::vector<std::unique_ptr<Command>> Commands() {
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(MakePackCommand());
  commands.push_back(MakeRunCommand());
  commands.push_back(MakeChatCommand());
  commands.push_back(MakeListenCommand());
  commands.push_back(MakeScoreCommand());
  commands.push_back(MakeTokenizeCommand());
  commands.push_back(MakeInspectCommand());
  commands.push_back(MakeStatusCommand());
  commands.push_back(MakeSynthCommand());
  commands.push_back(MakeBenchCommand());
  return commands;
}

void ShowOverview(const std::vector<std::unique_ptr<Command>>& commands) {
  std::cout << "lapidary: runs Google's Gemma 3n on CPUs\n\n"
               "Usage: lapidary COMMAND [arguments] [flags]\n\n";
  for (const std::unique_ptr<Command>& command : commands) {
    const CommandHelp help = command->Help();
    std::cout << absl::StrFormat("  %-10s%s\n", help.name, help.summary);
  }
  std::cout << "  help      explains a command: lapidary help run\n"
               "  --version says which version this is\n\n"
               "From a Hugging Face folder to an answer:\n"
               "  lapidary pack gemma-3n-E2B-it e2b\n"
               "  lapidary run e2b \"What does a lapidary do?\"\n";
}

void ShowHelp(Command* command) {
  const CommandHelp help = command->Help();
  FlagSet flags;
  command->DefineFlags(&flags);
  std::cout << "lapidary " << help.name << ": " << help.summary << "\n\n"
            << "Usage: lapidary " << help.name << " " << help.arguments
            << (help.arguments.empty() ? "" : " ") << "[flags]\n";
  if (!help.details.empty()) std::cout << "\n" << Wrap(help.details, 0);
  std::cout << flags.Help() << "\nExamples:\n";
  for (const std::string& example : help.examples) {
    std::cout << "  " << example << "\n";
  }
}

bool AsksForHelp(const std::vector<std::string>& args) {
  for (const std::string& arg : args) {
    if (arg == "--") return false;
    if (arg == "--help" || arg == "-h") return true;
  }
  return false;
}

// --help, help, help help, help --help.
bool AsksForOverview(const std::vector<std::string>& args) {
  if (args[0] == "--help" || args[0] == "-h") return true;
  if (args[0] != "help") return false;
  return args.size() == 1 || args[1] == "help" || args[1] == "--help" ||
         args[1] == "-h";
}

absl::Status RunCommand(Command* command,
                        const std::vector<std::string>& args) {
  FlagSet flags;
  command->DefineFlags(&flags);
  absl::StatusOr<std::vector<std::string>> arguments = flags.Parse(args);
  if (!arguments.ok()) return arguments.status();
  absl::Status status = command->Run(*arguments);
  std::cout.flush();
  if (status.ok() && !std::cout.good()) {
    return absl::UnknownError("the answer could not be written to stdout");
  }
  return status;
}

}  // namespace

void QuietGrpc() { setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0); }

int ShowError(absl::string_view program, absl::string_view help_command,
              const absl::Status& status) {
  if (status.ok()) return kExitOk;
  if (absl::IsCancelled(status)) {
    std::cerr << program << ": cancelled\n";
    return kExitInterrupted;
  }
  std::cerr << program << ": " << status.message() << "\n";
  if (!IsUsageError(status)) return kExitError;
  std::cerr << "Its flags and examples: " << help_command << "\n";
  return kExitUsage;
}

int RunApp(const std::vector<std::string>& args) {
  QuietGrpc();
  const std::vector<std::unique_ptr<Command>> commands = Commands();
  if (!args.empty() && args[0] == "--version") {
    std::cout << "lapidary " << kVersion << "\n";
    return kExitOk;
  }
  if (args.empty() || AsksForOverview(args)) {
    ShowOverview(commands);
    return args.empty() ? kExitUsage : kExitOk;
  }
  const bool help = args[0] == "help";
  const std::string& name = help ? args[1] : args[0];
  const std::vector<std::string> rest(args.begin() + (help ? 2 : 1),
                                      args.end());
  std::vector<std::string> names;
  for (const std::unique_ptr<Command>& command : commands) {
    names.push_back(command->Help().name);
    if (names.back() != name) continue;
    if (help || AsksForHelp(rest)) {
      ShowHelp(command.get());
      return kExitOk;
    }
    return ShowError("lapidary", absl::StrCat("lapidary help ", name),
                     RunCommand(command.get(), rest));
  }
  const std::string nearest = Nearest(name, names);
  return ShowError(
      "lapidary", "lapidary help",
      UsageError(absl::StrCat(
          "there is no command ", name,
          nearest.empty() ? ""
                          : absl::StrCat("; did you mean ", nearest, "?"))));
}

}  // namespace lapidary::cli
