#include "deploy/cli/openmp_environment.h"

#include <stdlib.h>
#include <unistd.h>

namespace lapidary::cli {

void LimitOpenMpSpinning(char** argv) {
  if (getenv("GOMP_SPINCOUNT") != nullptr ||
      getenv("OMP_WAIT_POLICY") != nullptr) {
    return;
  }
  setenv("GOMP_SPINCOUNT", "20000", /*overwrite=*/0);
  execv("/proc/self/exe", argv);
}

}  // namespace lapidary::cli
