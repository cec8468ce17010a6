#include "kernels/quant/quantize.h"

#include <cmath>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/parallel.h"
#include "kernels/quant/neuron_layout.h"
#include "kernels/quant/quant_layout.h"
#include "kernels/quant/row_quantizer.h"

namespace lapidary::kernels {
namespace {

float Load(DType dtype, const void* data, int64_t index) {
  return dtype == DType::kBf16
             ? Bf16ToFloat(static_cast<const uint16_t*>(data)[index])
             : static_cast<const float*>(data)[index];
}

// Quantises rows [count][k] and calls store(row index, QuantizedRow) for each
// but those with a weight that is out of range, by all threads.
template <class Store>
QuantError QuantizeRows(DType source, const void* rows, int64_t count,
                        int64_t k, DType target, const Store& store) {
  std::vector<QuantError> errors(count);
  ParallelFor(count, [&](int64_t row) {
    QuantError& error = errors[row];
    std::vector<float> weights(k);
    for (int64_t i = 0; i < k; ++i) {
      weights[i] = Load(source, rows, row * k + i);
      error.squared_weights += double{weights[i]} * weights[i];
      if (!(std::fabs(weights[i]) <= kMaxQuantWeight)) {
        error.out_of_range = true;
        return;
      }
    }
    store(row, QuantizeRow(target, weights, &error.squared_error));
  });
  QuantError total;
  for (const QuantError& error : errors) total.Add(error);
  return total;
}

}  // namespace

void QuantError::Add(const QuantError& other) {
  squared_error += other.squared_error;
  squared_weights += other.squared_weights;
  out_of_range = out_of_range || other.out_of_range;
}

double QuantError::RelativeRms() const {
  return squared_weights > 0 ? std::sqrt(squared_error / squared_weights) : 0;
}

QuantError QuantizePanel(DType source, const void* rows, int64_t row_count,
                         int64_t k, DType target, void* panel) {
  // A byte of int4 codes belongs to one row: rows do not share bytes.
  const QuantError error =
      QuantizeRows(source, rows, row_count, k, target,
                   [&](int64_t row, const QuantizedRow& quantized) {
                     StoreQuantRow(target, panel, row, quantized);
                   });
  for (int64_t lane = row_count; lane < kQuantPanelRows; ++lane) {
    StoreQuantRow(target, panel, lane, QuantizedRow(k));
  }
  return error;
}

QuantError QuantizeNeurons(DType source, const void* rows, int64_t count,
                           int64_t width, DType target, void* records) {
  const int64_t bytes = NeuronBytes(target, width);
  return QuantizeRows(source, rows, count, width, target,
                      [&](int64_t neuron, const QuantizedRow& quantized) {
                        StoreNeuron(
                            target, width,
                            static_cast<std::byte*>(records) + neuron * bytes,
                            quantized);
                      });
}

}  // namespace lapidary::kernels
