// The feed-forward network of a sparse layer in int8 or int4: the gate's cutoff
// leaves a few neurons, and up and down run over those alone.
//
// Exact: what is left out is gelu(0) · up = 0. A row's result depends on that
// row alone, to the bit.
#ifndef LAPIDARY_KERNELS_TEXT_SPARSE_FFN_H_
#define LAPIDARY_KERNELS_TEXT_SPARSE_FFN_H_

#include <cstddef>
#include <cstdint>

#include "kernels/quant/activations.h"
#include "kernels/quant/active_neurons.h"
#include "kernels/tensor.h"
#include "kernels/text/weights.h"

namespace lapidary::kernels::text {

// How many of the neurons that rows came by were active, added up over sparse
// layers.
struct SparsityCount {
  int64_t neurons = 0;  // rows × width of the layer
  int64_t active = 0;

  // Of the neurons, 1 where none were counted.
  double ActiveShare() const {
    return neurons == 0 ? 1 : static_cast<double>(active) / neurons;
  }
};

class SparseFfn {
 public:
  // down = W_d (gelu(sparse(W_g x)) ⊙ W_u x)
  //   w     of a layer by neuron
  //   x     [rows][hidden]
  //   gate  [rows][inner]   scratch
  //   up    [rows][inner]   scratch
  //   down  [rows][hidden]  may alias x
  void Run(const LayerWeights& w, ConstMatrixView x, MatrixView gate,
           MatrixView up, MatrixView down);

  const SparsityCount& count() const { return count_; }

  size_t bytes() const { return x_.bytes() + active_.bytes(); }

 private:
  QuantRows x_;
  ActiveNeurons active_;
  SparsityCount count_;
};

}  // namespace lapidary::kernels::text

#endif  // LAPIDARY_KERNELS_TEXT_SPARSE_FFN_H_
