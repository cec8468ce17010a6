// The inner loop of the integer product, once for each instruction set: a few
// panels of weights times one tile of activations.
//
// All compute the same numbers to the bit. For each output row and activation
// row, over the records of 128 k in ascending order from sum = 0:
//
//   dot = Σ weight integer · activation code       exact, in 32 bits
//   sum = fma(float(dot), activation scale, sum)   in f32
//
// and out = sum · weight scale. float(dot) is exact (|dot| < 2^22). Nothing
// depends on how many rows a tile has.
#ifndef LAPIDARY_KERNELS_QUANT_PRODUCT_KERNELS_H_
#define LAPIDARY_KERNELS_QUANT_PRODUCT_KERNELS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/quant/activation_tile.h"
#include "kernels/quant/quant_layout.h"

namespace lapidary::kernels {

// Weights, and how their outputs lie: rows out_stride apart. The last panel may
// be padded: columns is at most 16 · panel_count and above
// 16 · (panel_count - 1).
struct ProductPanels {
  const std::byte* panels = nullptr;  // as quant_layout.h, one after the other
  int64_t panel_count = 0;
  int64_t records = 0;
  int64_t columns = 0;
  int64_t out_stride = 0;
};

struct TileProduct : ProductPanels {
  const std::byte* tile = nullptr;  // as activation_tile.h
  int64_t tile_rows = 0;
  float* out = nullptr;  // [tile_rows][columns]
  // Whether the panels are not in this core's caches yet.
  bool ahead = true;
};

// One of its panels.
struct PanelProduct {
  const std::byte* panel = nullptr;
  float* out = nullptr;
  int64_t columns = 0;  // 1 … 16
};
inline PanelProduct PanelOf(const TileProduct& p, int64_t index,
                            int64_t panel_bytes) {
  const int64_t column = index * kQuantPanelRows;
  return {p.panels + index * panel_bytes, p.out + column,
          std::min(kQuantPanelRows, p.columns - column)};
}

using TileKernel = void (*)(const TileProduct& product);

// Panels times several tiles.
struct TilesProduct : ProductPanels {
  struct Tile {
    const std::byte* data = nullptr;  // as activation_tile.h
    int64_t rows = 0;
    float* out = nullptr;  // [rows][columns]
  };

  DType dtype = DType::kInt8;  // or kInt4
  std::vector<Tile> tiles;
};
using TilesKernel = void (*)(const TilesProduct& product);

// Writes an int4 panel as the int8 panel of the same weights.
using DecodeKernel = void (*)(const std::byte* panel, int64_t records,
                              std::byte* out);

struct ProductKernels {
  const char* name;
  TileLayout layout;  // of the tiles that they read
  TileKernel int8;
  TileKernel int4;
  // For several tiles by the same panels. Null where int4 tiles are as fast as
  // int8 ones.
  DecodeKernel decode_int4 = nullptr;
  // For several tiles at once. Null where one after the other is as fast.
  TilesKernel tiles = nullptr;
  // How many panels go side by side, in tiles of at least so many rows.
  int64_t panels_side_by_side = 1;
  int64_t side_by_side_rows = 0;

  int64_t PanelsSideBySide(int64_t rows) const {
    return rows >= side_by_side_rows ? panels_side_by_side : 1;
  }
};

// Null where the CPU lacks the instructions.
const ProductKernels* AmxProductKernels();
const ProductKernels* Avx512VnniProductKernels();
const ProductKernels* Avx2ProductKernels();
// Always there.
const ProductKernels* PortableProductKernels();

// The kernels in use: the fastest that this CPU has, chosen once.
const ProductKernels& ProductKernelsInUse();

// All that this CPU has, the fastest first, and a way to use another.
std::vector<const ProductKernels*> UsableProductKernels();
void UseProductKernelsForTest(const ProductKernels* kernels);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_PRODUCT_KERNELS_H_
