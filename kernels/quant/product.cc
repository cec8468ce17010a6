#include "kernels/quant/product.h"

#include <algorithm>
#include <atomic>

#include "kernels/parallel.h"
#include "kernels/quant/quant_layout.h"

namespace lapidary::kernels {
namespace {

// Panels that a thread multiplies by tile after tile before it goes on: they
// stay in its L2 cache, beside a tile.
constexpr int64_t kPanelGroupBytes = 256 << 10;

// Weight bytes times tiles from which waking a team costs less than it gains.
constexpr int64_t kTeamBytes = 32 << 10;

std::atomic<const ProductKernels*>& InUse() {
  static std::atomic<const ProductKernels*> kernels{
      UsableProductKernels().front()};
  return kernels;
}

}  // namespace

std::vector<const ProductKernels*> UsableProductKernels() {
  std::vector<const ProductKernels*> usable;
  for (const ProductKernels* kernels :
       {Avx512VnniProductKernels(), Avx2ProductKernels(),
        PortableProductKernels()}) {
    if (kernels != nullptr) usable.push_back(kernels);
  }
  return usable;
}

const ProductKernels& ProductKernelsInUse() { return *InUse(); }

void UseProductKernelsForTest(const ProductKernels* kernels) {
  InUse() = kernels;
}

void QuantMatMul(const QuantMatrix& w, const QuantRows& x, MatrixView out) {
  const ProductKernels& kernels = ProductKernelsInUse();
  const TileKernel multiply =
      w.dtype == DType::kInt4 ? kernels.int4 : kernels.int8;
  const int64_t records = QuantRecords(w.k);
  const int64_t panel_bytes = records * QuantRecordBytes(w.dtype);
  const int64_t panels = QuantPanels(w.n);
  const int64_t group = std::max<int64_t>(1, kPanelGroupBytes / panel_bytes);
  const auto multiply_panel = [&](int64_t panel, const QuantRows::Tile& tile) {
    TileProduct product;
    product.panel = static_cast<const std::byte*>(w.data) + panel * panel_bytes;
    product.records = records;
    product.tile = tile.data;
    product.tile_rows = tile.rows;
    product.out = out.row(tile.first_row) + panel * kQuantPanelRows;
    product.out_stride = out.cols;
    product.columns = std::min(kQuantPanelRows, w.n - panel * kQuantPanelRows);
    multiply(product);
  };
  const bool worth_a_team = panels * panel_bytes * x.tiles() >= kTeamBytes;
  ParallelRanges(panels, worth_a_team, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += group) {
      const int64_t last = std::min(end, first + group);
      for (int64_t t = 0; t < x.tiles(); ++t) {
        const QuantRows::Tile tile = x.tile(t);
        for (int64_t panel = first; panel < last; ++panel) {
          multiply_panel(panel, tile);
        }
      }
    }
  });
}

}  // namespace lapidary::kernels
