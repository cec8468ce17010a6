// The down projection of a sparse layer: a sum of the active neurons' records.
//
// Weights are what quant_layout.h says, exact in f32, activations stay f32, and
// an output is one chain over the row's active neurons, the lowest first, from
// sum = 0:
//
//   sum = fma(value, weight, sum)
//
// A neuron whose value is zero would add nothing: the sum over the active ones
// is the sum over all. A row's outputs depend on that row alone and are the
// same to the bit on every CPU, by any number of threads.
#ifndef LAPIDARY_KERNELS_QUANT_NEURON_SUM_H_
#define LAPIDARY_KERNELS_QUANT_NEURON_SUM_H_

#include "kernels/quant/active_neurons.h"
#include "kernels/quant/neuron_layout.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// out[r] = Σ values(r)[i] · w.record(neurons()[places(r)[i]]), by all threads.
//   out  [active.rows()][w.width]
void SumNeurons(const NeuronMatrix& w, const ActiveNeurons& active,
                MatrixView out);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_NEURON_SUM_H_
