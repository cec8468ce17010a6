#include "kernels/gemm/weight_layout.h"

#include "kernels/gemm/panel_layout.h"
#include "kernels/quant/quant_layout.h"

namespace lapidary::kernels {
namespace {

bool IsSize(int64_t size) { return size >= 1 && size <= int64_t{1} << 30; }

}  // namespace

bool IsWeightDType(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBf16 || IsQuantized(dtype);
}

int64_t WeightPanelRows(DType dtype) {
  return IsQuantized(dtype) ? kQuantPanelRows : kPanelRows;
}

std::optional<size_t> WeightPanelBytes(DType dtype, int64_t k) {
  if (!IsSize(k)) return std::nullopt;
  return IsQuantized(dtype) ? QuantPanelBytes(dtype, k) : PanelBytes(dtype, k);
}

std::optional<size_t> WeightMatrixBytes(DType dtype, int64_t n, int64_t k) {
  if (!IsSize(n) || !IsSize(k)) return std::nullopt;
  return IsQuantized(dtype) ? QuantMatrixBytes(dtype, n, k)
                            : PanelMatrixBytes(dtype, n, k);
}

QuantError PackWeightPanel(DType source, const void* rows, int64_t row_count,
                           int64_t k, DType target, void* panel) {
  if (IsQuantized(target)) {
    return QuantizePanel(source, rows, row_count, k, target, panel);
  }
  PackPanel(source, rows, row_count, k, target, panel);
  return QuantError();
}

void UnpackWeightRow(DType dtype, const void* matrix, int64_t n, int64_t k,
                     float* row) {
  if (IsQuantized(dtype)) {
    DequantizeRow(dtype, matrix, n, k, row);
  } else {
    UnpackRow(dtype, matrix, n, k, row);
  }
}

}  // namespace lapidary::kernels
