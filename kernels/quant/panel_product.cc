#include "kernels/quant/panel_product.h"

#include <algorithm>

#include "kernels/quant/quant_layout.h"
#include "kernels/scratch.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kChunkBytes = 256 << 10;

// Chunks where there is one tile and nothing is used again: what threads take
// turns at towards the end of a product.
constexpr int64_t kSingleTileChunkBytes = 64 << 10;

// The panels as int8 ones, in memory that this thread uses again.
PanelRun Decode(DecodeKernel decode, const PanelRun& panels) {
  thread_local Scratch scratch;
  const int64_t from = QuantPanelSize(panels.dtype, panels.records);
  const int64_t to = QuantPanelSize(DType::kInt8, panels.records);
  auto* decoded = scratch.Room<std::byte>(panels.count * to);
  for (int64_t i = 0; i < panels.count; ++i) {
    decode(panels.data + i * from, panels.records, decoded + i * to);
  }
  PanelRun result = panels;
  result.dtype = DType::kInt8;
  result.data = decoded;
  return result;
}

}  // namespace

int64_t PanelsTogether(DType dtype, int64_t records, int64_t tiles) {
  // Of several tiles, by what the panels are once decoded.
  const int64_t together =
      tiles == 1 ? kSingleTileChunkBytes / QuantPanelSize(dtype, records)
                 : kChunkBytes / QuantPanelSize(DType::kInt8, records);
  return std::max<int64_t>(1, together);
}

void MultiplyPanels(const ProductKernels& kernels, const PanelRun& panels,
                    const QuantTiles& x, MatrixView outputs) {
  if (panels.dtype == DType::kInt4 && x.tiles() > 1 &&
      kernels.decode_int4 != nullptr) {
    MultiplyPanels(kernels, Decode(kernels.decode_int4, panels), x, outputs);
    return;
  }
  const TileKernel multiply =
      panels.dtype == DType::kInt4 ? kernels.int4 : kernels.int8;
  TileProduct p;
  p.panels = panels.data;
  p.panel_count = panels.count;
  p.records = panels.records;
  p.out_stride = outputs.cols;
  const int64_t column = panels.first * kQuantPanelRows;
  p.columns = std::min(panels.count * kQuantPanelRows, panels.n - column);
  for (int64_t t = 0; t < x.tiles(); ++t) {
    const QuantTiles::Tile tile = x.tile(t);
    p.tile = tile.data;
    p.ahead = t == 0;
    p.tile_rows = tile.rows;
    p.out = outputs.row(tile.first_row) + column;
    multiply(p);
  }
}

}  // namespace lapidary::kernels
