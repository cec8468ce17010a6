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
  const ProductKernels& kernels = ProductKernelsInUse();
  const auto count = static_cast<int64_t>(neurons.size());
  const int64_t records = QuantRecords(w.width);
  const int64_t panel_bytes = QuantPanelSize(w.dtype, records);
  const int64_t panels = QuantPanels(count);
  // One tile alone finds its panels in L1, or in L2 where several go together.
  const int64_t together =
      x.tiles() <= 1 ? kernels.PanelsSideBySide(x.rows())
                     : PanelsTogether(kernels, w.dtype, records, x.rows());
  const auto of_panel = [&](int64_t panel) {
    return neurons.subspan(std::min(count, panel * kQuantPanelRows),
                           kQuantPanelRows);
  };
  const bool worth_a_team = panels * panel_bytes * x.tiles() >= kTeamBytes;
  ParallelRanges(panels, worth_a_team, [&](int64_t begin, int64_t end) {
    thread_local Scratch scratch;
    auto* room = scratch.Room<std::byte>(together * panel_bytes);
    PanelRun run;
    run.dtype = w.dtype;
    run.data = room;
    run.records = records;
    run.n = count;
    for (run.first = begin; run.first < end; run.first += together) {
      run.count = std::min(together, end - run.first);
      for (int64_t i = 0; i < run.count; ++i) {
        GatherPanel(w, of_panel(run.first + i), of_panel(run.first + i + 1),
                    room + i * panel_bytes);
      }
      MultiplyPanels(kernels, run, x, out);
    }
  });
}

}  // namespace lapidary::kernels
