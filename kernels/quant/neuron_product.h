// y = W x at some neurons of W, for any number of x at once.
#ifndef LAPIDARY_KERNELS_QUANT_NEURON_PRODUCT_H_
#define LAPIDARY_KERNELS_QUANT_NEURON_PRODUCT_H_

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/quant/activations.h"
#include "kernels/quant/neuron_layout.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// out[r][i] = W[neurons[i]] · x[r], by all threads, and to the bit what
// QuantMatMul gives for the same codes and scales: its kernels multiply.
//   neurons  of w, in any order
//   x        rows of w.width
//   out      [rows][neurons.size()]
void NeuronMatMul(const NeuronMatrix& w, absl::Span<const int32_t> neurons,
                  const QuantRows& x, MatrixView out);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_NEURON_PRODUCT_H_
