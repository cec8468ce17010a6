// The command line: see deploy/cli/app.h.
#include <string>
#include <vector>

#include "deploy/cli/app.h"

int main(int argc, char** argv) {
  return lapidary::cli::RunApp(std::vector<std::string>(argv + 1, argv + argc));
}
