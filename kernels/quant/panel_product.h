// A few panels of weights times all tiles of activations, wherever the panels
// lie: in a matrix (product.cc) or gathered from neurons (neuron_product.cc).
#ifndef LAPIDARY_KERNELS_QUANT_PANEL_PRODUCT_H_
#define LAPIDARY_KERNELS_QUANT_PANEL_PRODUCT_H_

#include <cstddef>
#include <cstdint>

#include "kernels/quant/activations.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// Weight bytes times tiles from which waking a team costs less than it gains.
inline constexpr int64_t kTeamBytes = 32 << 10;

// Panels that follow one another.
struct PanelRun {
  DType dtype = DType::kInt8;  // or kInt4
  const std::byte* data = nullptr;
  int64_t count = 0;
  int64_t records = 0;  // of a panel
  int64_t first = 0;    // its outputs are [first · 16, …) of n
  int64_t n = 0;
};

// How many panels a thread multiplies by all of `rows` rows before it goes on:
// they stay in its L2 cache, beside what else is used again.
int64_t PanelsTogether(const ProductKernels& kernels, DType dtype,
                       int64_t records, int64_t rows);

// Multiplies, by this thread. Where there are several tiles int4 panels are
// decoded once for all of them.
//   outputs  [x.rows()][n]
void MultiplyPanels(const ProductKernels& kernels, const PanelRun& panels,
                    const QuantTiles& x, MatrixView outputs);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_PANEL_PRODUCT_H_
