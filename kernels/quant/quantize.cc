#include "kernels/quant/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/parallel.h"
#include "kernels/quant/block_quantizer.h"
#include "kernels/quant/neuron_layout.h"
#include "kernels/quant/quant_layout.h"

namespace lapidary::kernels {
namespace {

float Load(DType dtype, const void* data, int64_t index) {
  return dtype == DType::kBf16
             ? Bf16ToFloat(static_cast<const uint16_t*>(data)[index])
             : static_cast<const float*>(data)[index];
}

// Quantises one block of at most 32 weights, `step` apart; what is missing is
// zero. Calls store(QuantizedBlock) unless a weight is out of range.
template <class Store>
QuantError PackBlock(DType source, const void* data, int64_t first,
                     int64_t count, int64_t step, DType target,
                     const Store& store) {
  QuantError error;
  float weights[kQuantBlock] = {};
  for (int64_t i = 0; i < count; ++i) {
    weights[i] = Load(source, data, first + i * step);
    error.squared_weights += double{weights[i]} * weights[i];
    if (!(std::fabs(weights[i]) <= kMaxQuantWeight)) {
      error.out_of_range = true;
      return error;
    }
  }
  const QuantizedBlock quantized = QuantizeBlock(target, weights);
  store(quantized);
  error.squared_error = quantized.squared_error;
  return error;
}

QuantError Sum(const std::vector<QuantError>& errors) {
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
  const int64_t records = QuantRecords(k);
  std::vector<QuantError> errors(kQuantPanelRows);
  // A byte of int4 codes belongs to one row: rows do not share bytes.
  ParallelFor(kQuantPanelRows, [&](int64_t row) {
    for (int64_t block = 0; block < records * kQuantRecordBlocks; ++block) {
      const int64_t first = block * kQuantBlock;
      const int64_t count =
          row < row_count ? std::clamp<int64_t>(k - first, 0, kQuantBlock) : 0;
      errors[row].Add(PackBlock(source, rows, row * k + first, count, 1, target,
                                [&](const QuantizedBlock& quantized) {
                                  StoreQuantBlock(target, panel, row, block,
                                                  quantized.codes,
                                                  quantized.scale);
                                }));
    }
  });
  return Sum(errors);
}

QuantError QuantizeNeuronRows(DType source, const void* rows, int64_t count,
                              int64_t width, DType target, void* records) {
  std::vector<QuantError> errors(count);
  const int64_t bytes = NeuronBytes(target, width);
  ParallelFor(count, [&](int64_t neuron) {
    std::byte* record = static_cast<std::byte*>(records) + neuron * bytes;
    for (int64_t first = 0; first < width; first += kQuantBlock) {
      errors[neuron].Add(
          PackBlock(source, rows, neuron * width + first,
                    std::min(kQuantBlock, width - first), 1, target,
                    [&](const QuantizedBlock& quantized) {
                      StoreNeuronBlock(target, width, record,
                                       first / kQuantBlock, quantized.codes,
                                       quantized.scale);
                    }));
    }
  });
  return Sum(errors);
}

QuantError QuantizeNeuronBlocks(DType source, const void* rows,
                                int64_t row_count, int64_t neurons,
                                int64_t width, int64_t block, DType target,
                                void* records) {
  std::vector<QuantError> errors(neurons);
  const int64_t bytes = NeuronBytes(target, width);
  ParallelFor(neurons, [&](int64_t neuron) {
    std::byte* record = static_cast<std::byte*>(records) + neuron * bytes;
    errors[neuron] = PackBlock(source, rows, neuron, row_count, neurons, target,
                               [&](const QuantizedBlock& quantized) {
                                 StoreNeuronBlock(target, width, record, block,
                                                  quantized.codes,
                                                  quantized.scale);
                               });
  });
  return Sum(errors);
}

}  // namespace lapidary::kernels
