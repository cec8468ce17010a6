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

// Sums of a chunk where tiles are multiplied at once.
constexpr int64_t kSumBytes = 512 << 10;

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

// Where the panels' outputs begin in a row.
int64_t FirstColumn(const PanelRun& panels) {
  return panels.first * kQuantPanelRows;
}

ProductPanels PanelsOf(const PanelRun& panels, MatrixView outputs) {
  return {
      panels.data, panels.count, panels.records,
      std::min(panels.count * kQuantPanelRows, panels.n - FirstColumn(panels)),
      outputs.cols};
}

// By all tiles at once.
void MultiplyTiles(TilesKernel multiply, const PanelRun& panels,
                   const QuantTiles& x, MatrixView outputs) {
  TilesProduct p;
  static_cast<ProductPanels&>(p) = PanelsOf(panels, outputs);
  p.dtype = panels.dtype;
  p.tiles.reserve(x.tiles());
  for (int64_t t = 0; t < x.tiles(); ++t) {
    const QuantTiles::Tile tile = x.tile(t);
    p.tiles.push_back({tile.data, tile.rows,
                       outputs.row(tile.first_row) + FirstColumn(panels)});
  }
  multiply(p);
}

int64_t RoundUp(int64_t count, int64_t step) {
  return (count + step - 1) / step * step;
}

}  // namespace

int64_t PanelsTogether(const ProductKernels& kernels, DType dtype,
                       int64_t records, int64_t rows) {
  const bool several = rows > kMaxTileRows;
  if (several && kernels.tiles != nullptr) {
    // As many as keep what all their sums take in L2.
    const int64_t sums = rows * kQuantPanelRows * int64_t{sizeof(float)};
    return std::clamp(kSumBytes / sums / kernels.panels_side_by_side,
                      int64_t{1}, int64_t{4}) *
           kernels.panels_side_by_side;
  }
  // Of several tiles, by what the panels are once decoded.
  const int64_t together =
      several ? kChunkBytes / QuantPanelSize(DType::kInt8, records)
              : kSingleTileChunkBytes / QuantPanelSize(dtype, records);
  return RoundUp(std::max<int64_t>(1, together),
                 kernels.PanelsSideBySide(rows));
}

void MultiplyPanels(const ProductKernels& kernels, const PanelRun& panels,
                    const QuantTiles& x, MatrixView outputs) {
  if (x.tiles() > 1 && kernels.tiles != nullptr) {
    MultiplyTiles(kernels.tiles, panels, x, outputs);
    return;
  }
  if (panels.dtype == DType::kInt4 && x.tiles() > 1 &&
      kernels.decode_int4 != nullptr) {
    MultiplyPanels(kernels, Decode(kernels.decode_int4, panels), x, outputs);
    return;
  }
  const TileKernel multiply =
      panels.dtype == DType::kInt4 ? kernels.int4 : kernels.int8;
  TileProduct p;
  static_cast<ProductPanels&>(p) = PanelsOf(panels, outputs);
  for (int64_t t = 0; t < x.tiles(); ++t) {
    const QuantTiles::Tile tile = x.tile(t);
    p.tile = tile.data;
    p.ahead = t == 0;
    p.tile_rows = tile.rows;
    p.out = outputs.row(tile.first_row) + FirstColumn(panels);
    multiply(p);
  }
}

}  // namespace lapidary::kernels
