#include "kernels/amx.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace lapidary::kernels {

bool AmxTilesUsable() {
  static const bool usable = [] {
    constexpr int kRequestPermission = 0x1023, kTileData = 18;
    return __builtin_cpu_supports("amx-tile") &&
           syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return usable;
}

}  // namespace lapidary::kernels
