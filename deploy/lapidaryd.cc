// A node: see deploy/cli/daemon.h.
#include <string>
#include <vector>

#include "deploy/cli/daemon.h"
#include "deploy/cli/openmp_environment.h"

int main(int argc, char** argv) {
  lapidary::cli::LimitOpenMpSpinning(argv);
  return lapidary::cli::RunDaemon(
      std::vector<std::string>(argv + 1, argv + argc));
}
