#include "kernels/quant/neuron_product.h"

#include <algorithm>

#include "kernels/parallel.h"
#include "kernels/quant/neuron_panel.h"
#include "kernels/quant/panel_product.h"
#include "kernels/quant/product.h"
#include "kernels/scratch.h"

namespace lapidary::kernels {

void NeuronMatMul(const NeuronMatrix& w, absl::Span<const int32_t> neurons,
                  const QuantRows& x, MatrixView out) {
  const auto count = static_cast<int64_t>(neurons.size());
  const TileKernel multiply = KernelFor(ProductKernelsInUse(), w.dtype);
  const int64_t panel_bytes = QuantRecords(w.width) * QuantRecordBytes(w.dtype);
  const int64_t panels = QuantPanels(count);
  // One tile alone finds its panel in L1.
  const int64_t group =
      x.tiles() <= 1 ? 1
                     : std::max<int64_t>(1, kChunkBytes / panel_bytes);
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
          MultiplyPanel(multiply, room + (panel - first) * panel_bytes,
                        QuantRecords(w.width), panel, count, tile, out);
        }
      }
    }
  });
}

}  // namespace lapidary::kernels
