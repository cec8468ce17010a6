// The matrix unit of newer Intel CPUs (AMX): eight tile registers of up to 16
// rows of 64 bytes.
#ifndef LAPIDARY_KERNELS_AMX_H_
#define LAPIDARY_KERNELS_AMX_H_

#include <cstdint>

namespace lapidary::kernels {

// Whether this process may use tile registers: the CPU has them, and Linux has
// agreed to keep them, which is asked for at the first call. Without its leave
// the first use is SIGILL.
bool AmxTilesUsable();

// What the tile registers are for: the operand of ldtilecfg.
struct AmxTileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void Set(int tile, int64_t tile_rows, int64_t tile_row_bytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<uint16_t>(tile_row_bytes);
  }

  // Configures this thread's registers, until tilerelease. AmxTilesUsable()
  // only. Not _tile_loadconfig, of which GCC 12 believes that it reads 8 bytes.
  void Load() const { asm volatile("ldtilecfg %0" : : "m"(*this)); }
};
static_assert(sizeof(AmxTileConfig) == 64, "what ldtilecfg reads");

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_AMX_H_
