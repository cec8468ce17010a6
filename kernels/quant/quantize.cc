#include "kernels/quant/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/bf16.h"
#include "kernels/parallel.h"
#include "kernels/quant/block_quantizer.h"
#include "kernels/quant/quant_layout.h"

namespace lapidary::kernels {
namespace {

float Load(DType dtype, const void* data, int64_t index) {
  return dtype == DType::kBf16
             ? Bf16ToFloat(static_cast<const uint16_t*>(data)[index])
             : static_cast<const float*>(data)[index];
}

// Quantises one block of at most 32 weights; what is missing is zero.
QuantError PackBlock(DType source, const void* data, int64_t first,
                     int64_t count, DType target, int64_t row, int64_t block,
                     void* panel) {
  QuantError error;
  float weights[kQuantBlock] = {};
  for (int64_t i = 0; i < count; ++i) {
    weights[i] = Load(source, data, first + i);
    error.squared_weights += double{weights[i]} * weights[i];
    if (!(std::fabs(weights[i]) <= kMaxQuantWeight)) {
      error.out_of_range = true;
      return error;
    }
  }
  const QuantizedBlock quantized = QuantizeBlock(target, weights);
  StoreQuantBlock(target, panel, row, block, quantized.codes, quantized.scale);
  error.squared_error = quantized.squared_error;
  return error;
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
  QuantError errors[kQuantPanelRows];
  // A byte of int4 codes belongs to one row: rows do not share bytes.
  ParallelFor(kQuantPanelRows, [&](int64_t row) {
    for (int64_t block = 0; block < records * kQuantRecordBlocks; ++block) {
      const int64_t first = block * kQuantBlock;
      const int64_t count =
          row < row_count ? std::clamp<int64_t>(k - first, 0, kQuantBlock) : 0;
      errors[row].Add(PackBlock(source, rows, row * k + first, count, target,
                                row, block, panel));
    }
  });
  QuantError total;
  for (const QuantError& error : errors) total.Add(error);
  return total;
}

}  // namespace lapidary::kernels
