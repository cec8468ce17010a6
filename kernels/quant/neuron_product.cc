#include "kernels/quant/neuron_product.h"

#include <algorithm>

#include "kernels/parallel.h"
#include "kernels/quant/neuron_panel.h"
#include "kernels/quant/product.h"
#include "kernels/quant/scratch.h"

namespace lapidary::kernels {
namespace {

// Panels that are gathered before a thread multiplies them by tile after tile:
// they stay in its L2 cache, beside a tile.
constexpr int64_t kPanelGroupBytes = 256 << 10;

// Weight bytes times tiles from which waking a team costs less than it gains.
constexpr int64_t kTeamBytes = 32 << 10;

}  // namespace

void NeuronMatMul(const NeuronMatrix& w, absl::Span<const int32_t> neurons,
                  const QuantRows& x, MatrixView out) {
  const auto count = static_cast<int64_t>(neurons.size());
  const TileKernel multiply = w.dtype == DType::kInt4
                                  ? ProductKernelsInUse().int4
                                  : ProductKernelsInUse().int8;
  const int64_t panel_bytes = QuantRecords(w.width) * QuantRecordBytes(w.dtype);
  const int64_t panels = QuantPanels(count);
  // One tile alone finds its panel in L1.
  const int64_t group =
      x.tiles() <= 1 ? 1
                     : std::max<int64_t>(1, kPanelGroupBytes / panel_bytes);
  const auto of_panel = [&](int64_t panel) {
    return neurons.subspan(std::min(count, panel * kQuantPanelRows),
                           kQuantPanelRows);
  };
  const bool worth_a_team = panels * panel_bytes * x.tiles() >= kTeamBytes;
  ParallelRanges(panels, worth_a_team, [&](int64_t begin, int64_t end) {
    thread_local Scratch scratch;
    auto* room = scratch.Room<std::byte>(group * panel_bytes);
    for (int64_t first = begin; first < end; first += group) {
      const int64_t last = std::min(end, first + group);
      for (int64_t panel = first; panel < last; ++panel) {
        GatherPanel(w, of_panel(panel), of_panel(panel + 1),
                    room + (panel - first) * panel_bytes);
      }
      for (int64_t t = 0; t < x.tiles(); ++t) {
        const QuantRows::Tile tile = x.tile(t);
        for (int64_t panel = first; panel < last; ++panel) {
          TileProduct product;
          product.panel = room + (panel - first) * panel_bytes;
          product.records = QuantRecords(w.width);
          product.tile = tile.data;
          product.tile_rows = tile.rows;
          product.out = out.row(tile.first_row) + panel * kQuantPanelRows;
          product.out_stride = out.cols;
          product.columns =
              std::min(kQuantPanelRows, count - panel * kQuantPanelRows);
          multiply(product);
        }
      }
    }
  });
}

}  // namespace lapidary::kernels
