#include "kernels/text/step_bytes.h"

#include <algorithm>

#include "kernels/gemm/weight_matrix.h"
#include "kernels/quant/activations.h"
#include "kernels/quant/quant_layout.h"

namespace lapidary::kernels::text {
namespace {

int64_t WidestFfn(const TextConfig& c) {
  return *std::max_element(c.intermediate_size.begin(),
                           c.intermediate_size.end());
}

// 0 where no layer is sparse.
int64_t WidestSparseFfn(const TextConfig& c) {
  int64_t widest = 0;
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) {
    if (c.activation_sparsity_pattern[layer] > 0) {
      widest = std::max(widest, c.intermediate_size[layer]);
    }
  }
  return widest;
}

// Of the matrices of step.h, for each row.
int64_t FloatsOfRow(const TextConfig& c) {
  const int64_t streams = 2 * c.altup_num_inputs;  // before and predicted
  // The embedding, normed, laurel, attended and hidden.
  const int64_t hidden = (streams + 5) * c.hidden_size;
  const int64_t attention = 2 * c.query_width() + 2 * c.kv_width();
  const int64_t ffn = 2 * WidestFfn(c);
  const int64_t per_layer = 2 * c.hidden_size_per_layer_input;
  const int64_t rope = 2 * c.head_dim;
  return hidden + attention + ffn + per_layer + c.laurel_rank + rope;
}

// Of the values and places of a sparse layer's neurons (active_neurons.h), were
// they all active.
int64_t SparseBytesOfRow(const TextConfig& c) {
  constexpr int64_t kNeuronBytes = 3 * sizeof(float);
  // The hidden state, quantised; a bit for each neuron, and where a row begins.
  return WidestSparseFfn(c) * kNeuronBytes +
         QuantActivationBytes(c.hidden_size) + WidestSparseFfn(c) / 8 +
         4 * sizeof(int64_t);
}

// Of a row that is quantised or rounded to be multiplied, as wide as any.
int64_t ProductBytesOfRow(const TextConfig& c) {
  const int64_t widest =
      std::max({c.hidden_size, c.query_width(), WidestFfn(c)});
  return QuantActivationBytes(widest);
}

}  // namespace

size_t StepBytes(const TextConfig& c, const KvLayout& kv_layout,
                 const StepSize& size) {
  const int64_t rows = GemmCapacity(size.rows);
  const int64_t row_bytes = FloatsOfRow(c) * sizeof(float) +
                            ProductBytesOfRow(c) + SparseBytesOfRow(c) +
                            2 * kv_layout.layers.size() * kv_layout.RowBytes();
  const int64_t logits =
      GemmCapacity(size.head_rows) * c.vocab_size * sizeof(float);
  const int64_t scores = size.threads *
                         (c.num_attention_heads / c.num_key_value_heads) *
                         size.positions * sizeof(float);
  // Which neurons are active in any row, and their places, as a vector grows.
  const int64_t active = WidestSparseFfn(c) * 4 * sizeof(int32_t);
  // Rounding to cache lines.
  constexpr int64_t kAlignment = 4096;
  return rows * row_bytes + logits + scores + active + kAlignment;
}

}  // namespace lapidary::kernels::text
