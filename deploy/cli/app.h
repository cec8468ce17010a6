// `lapidary` as a function: finds the command, parses its flags, runs it, shows
// its error.
#ifndef LAPIDARY_DEPLOY_CLI_APP_H_
#define LAPIDARY_DEPLOY_CLI_APP_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace lapidary::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitInterrupted = 130;

// Of both programs.
inline constexpr char kVersion[] = "0.1.0";

// Keeps gRPC's own log lines off stderr, unless GRPC_VERBOSITY asks for them:
// what they tell comes back as a status.
void QuietGrpc();

// `args` without the program's name. Returns the exit code.
int RunApp(const std::vector<std::string>& args);

// Writes "PROGRAM: message" to stderr, with a pointer to `help_command` for an
// error of usage, and returns the exit code of `status`.
int ShowError(absl::string_view program, absl::string_view help_command,
              const absl::Status& status);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_APP_H_
