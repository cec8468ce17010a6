// Makes of 16 neurons' records the panel that the integer product's kernels
// read (quant_layout.h), whose outputs are then those neurons'.
#ifndef LAPIDARY_KERNELS_QUANT_NEURON_PANEL_H_
#define LAPIDARY_KERNELS_QUANT_NEURON_PANEL_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/quant/neuron_layout.h"

namespace lapidary::kernels {

//   neurons  1 … 16; the last stands for those that are missing
//   next     whose records are wanted soon: asked of memory meanwhile
//   panel    QuantPanelBytes(w.dtype, w.width) bytes, 64-byte aligned
void GatherPanel(const NeuronMatrix& w, absl::Span<const int32_t> neurons,
                 absl::Span<const int32_t> next, std::byte* panel);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_NEURON_PANEL_H_
