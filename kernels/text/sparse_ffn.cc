#include "kernels/text/sparse_ffn.h"

#include "kernels/parallel.h"
#include "kernels/quant/neuron_product.h"
#include "kernels/quant/neuron_sum.h"
#include "kernels/quant/product.h"
#include "kernels/simd/row_ops.h"

namespace lapidary::kernels::text {

void SparseFfn::Run(const LayerWeights& w, ConstMatrixView x, MatrixView gate,
                    MatrixView up, MatrixView down) {
  x_.Quantize(x);
  const WeightMatrix& g = w.gate_proj;
  QuantMatMul({g.dtype(), g.n(), g.k(), g.data()}, x_, gate);
  ParallelFor(gate.rows, [&](int64_t row) {
    GaussianTopK(w.sparsity_multiplier, gate.cols, gate.row(row));
  });
  active_.Find(gate);
  count_.neurons += gate.rows * gate.cols;
  count_.active += active_.total();
  const MatrixView active_up{up.data, up.rows,
                             static_cast<int64_t>(active_.neurons().size())};
  NeuronMatMul(w.up_neurons, active_.neurons(), x_, active_up);
  active_.Activate(active_up);
  SumNeurons(w.down_neurons, active_, down);
}

}  // namespace lapidary::kernels::text
