// One panel of weights times one tile of activations, wherever the panel lies:
// in a matrix (product.cc) or gathered from neurons (neuron_product.cc).
#ifndef LAPIDARY_KERNELS_QUANT_PANEL_PRODUCT_H_
#define LAPIDARY_KERNELS_QUANT_PANEL_PRODUCT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/quant/activations.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/quant/quant_layout.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// Weights that a thread multiplies by tile after tile before it goes on: they
// stay in its L2 cache, beside a tile.
inline constexpr int64_t kChunkBytes = 256 << 10;

// Weight bytes times tiles from which waking a team costs less than it gains.
inline constexpr int64_t kTeamBytes = 32 << 10;

// The kernel for weights of `dtype`, kInt8 or kInt4.
inline TileKernel KernelFor(const ProductKernels& kernels, DType dtype) {
  return dtype == DType::kInt4 ? kernels.int4 : kernels.int8;
}

// Outputs [index · 16, + 16) of `n`, of the tile's rows.
//   panel    as quant_layout.h, of `records` records
//   outputs  [rows][n]
inline void MultiplyPanel(TileKernel multiply, const std::byte* panel,
                          int64_t records, int64_t index, int64_t n,
                          const QuantRows::Tile& tile, MatrixView outputs) {
  TileProduct p;
  p.panel = panel;
  p.records = records;
  p.tile = tile.data;
  p.tile_rows = tile.rows;
  p.out = outputs.row(tile.first_row) + index * kQuantPanelRows;
  p.out_stride = outputs.cols;
  p.columns = std::min(kQuantPanelRows, n - index * kQuantPanelRows);
  multiply(p);
}

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_PANEL_PRODUCT_H_
