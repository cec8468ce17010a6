// The order of a weight matrix in memory and in the packed model's files,
// whatever its dtype: panels of rows, as panel_layout.h has them for f32 and
// bf16 and quant_layout.h for int8 and int4.
#ifndef LAPIDARY_KERNELS_GEMM_WEIGHT_LAYOUT_H_
#define LAPIDARY_KERNELS_GEMM_WEIGHT_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernels/quant/quantize.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// Whether a weight matrix can have this dtype.
bool IsWeightDType(DType dtype);

// Output rows of one panel.
int64_t WeightPanelRows(DType dtype);

// Bytes of one panel, and of a whole [n][k] matrix; nothing for sizes below 1
// or beyond those of any model (2^30): sizes may come from a hostile file.
std::optional<size_t> WeightPanelBytes(DType dtype, int64_t k);
std::optional<size_t> WeightMatrixBytes(DType dtype, int64_t n, int64_t k);

// Writes one panel.
//   source  kF32 or kBf16
//   rows    [row_count][k]  the panel's source rows, at most as many as it has
//   panel   WeightPanelBytes(target, k) bytes, 64-byte aligned
// Returns what it cost; of quantised dtypes only.
QuantError PackWeightPanel(DType source, const void* rows, int64_t row_count,
                           int64_t k, DType target, void* panel);

// Reads row `n` of a packed [*][k] matrix back as f32.
//   row  [k]
void UnpackWeightRow(DType dtype, const void* matrix, int64_t n, int64_t k,
                     float* row);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_WEIGHT_LAYOUT_H_
