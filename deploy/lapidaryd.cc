// A node: see deploy/cli/daemon.h.
#include <string>
#include <vector>

#include "deploy/cli/daemon.h"

int main(int argc, char** argv) {
  return lapidary::cli::RunDaemon(
      std::vector<std::string>(argv + 1, argv + argc));
}
