// Packs a weight matrix into the quantised layouts, and keeps account of
// what that costs.
#ifndef LAPIDARY_KERNELS_QUANT_QUANTIZE_H_
#define LAPIDARY_KERNELS_QUANT_QUANTIZE_H_

#include <cstdint>

#include "kernels/tensor.h"

namespace lapidary::kernels {

// Far beyond any model's weights; keeps what is computed of them finite.
inline constexpr float kMaxQuantWeight = 8 * 65504.0f;

// The error of quantised weights; adds up over panels and tensors.
struct QuantError {
  double squared_error = 0;
  double squared_weights = 0;
  // A weight was NaN or beyond ±kMaxQuantWeight: the matrix cannot be
  // quantised.
  bool out_of_range = false;

  void Add(const QuantError& other);
  // Root mean square of the error, relative to that of the weights.
  double RelativeRms() const;
};

// Writes one panel, by all threads.
//   source  kF32 or kBf16
//   rows    [row_count][k]  the panel's source rows, row_count ≤ 16
//   target  kInt8 or kInt4
//   panel   QuantPanelBytes(target, k) bytes
QuantError QuantizePanel(DType source, const void* rows, int64_t row_count,
                         int64_t k, DType target, void* panel);

// Writes records of neurons, by all threads.
//   rows     [count][width]  a neuron's weights, each
//   records  [count], as neuron_layout.h; all zero before
QuantError QuantizeNeurons(DType source, const void* rows, int64_t count,
                           int64_t width, DType target, void* records);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_QUANTIZE_H_
