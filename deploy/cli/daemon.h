// `lapidaryd` as a function: flags to a node, then until a signal.
#ifndef LAPIDARY_DEPLOY_CLI_DAEMON_H_
#define LAPIDARY_DEPLOY_CLI_DAEMON_H_

#include <string>
#include <vector>

namespace lapidary::cli {

// `args` without the program's name. Serves until SIGINT or SIGTERM; then lets
// running requests finish for --grace. A second signal ends it at once.
// Returns the exit code.
int RunDaemon(const std::vector<std::string>& args);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_DAEMON_H_
