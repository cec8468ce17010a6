#include "kernels/gemm/panel_layout.h"

#include <algorithm>
#include <cstring>

#include "kernels/bf16.h"

namespace lapidary::kernels {
namespace {

// Consecutive k that lie together for one row: 2 for bf16, whose dot-product
// instruction takes pairs.
int64_t PairDepth(DType dtype) { return dtype == DType::kBf16 ? 2 : 1; }

float Load(DType dtype, const void* data, int64_t index) {
  return dtype == DType::kBf16
             ? Bf16ToFloat(static_cast<const uint16_t*>(data)[index])
             : static_cast<const float*>(data)[index];
}

void PackF32(DType source, const void* rows, int64_t row_count, int64_t k,
             float* panel) {
  for (int64_t row = 0; row < row_count; ++row) {
    for (int64_t i = 0; i < k; ++i) {
      panel[i * kPanelRows + row] = Load(source, rows, row * k + i);
    }
  }
}

void PackBf16(DType source, const void* rows, int64_t row_count, int64_t k,
              uint16_t* panel) {
  const auto* bits = static_cast<const uint16_t*>(rows);
  const auto* wide = static_cast<const float*>(rows);
  for (int64_t row = 0; row < row_count; ++row) {
    uint16_t* column = panel + row * 2;
    for (int64_t i = 0; i < k; ++i) {
      const int64_t from = row * k + i;
      column[(i / 2) * kPanelRows * 2 + i % 2] =
          source == DType::kBf16 ? bits[from] : FloatToBf16(wide[from]);
    }
  }
}

}  // namespace

int64_t PaddedPanelDepth(DType dtype, int64_t k) {
  const int64_t step = 16 * PairDepth(dtype);
  return (k + step - 1) / step * step;
}

size_t PanelBytes(DType dtype, int64_t k) {
  return PaddedPanelDepth(dtype, k) * kPanelRows * SizeOf(dtype);
}

size_t PanelMatrixBytes(DType dtype, int64_t n, int64_t k) {
  return (n + kPanelRows - 1) / kPanelRows * PanelBytes(dtype, k);
}

void PackPanel(DType source, const void* rows, int64_t row_count, int64_t k,
               DType target, void* panel) {
  if (row_count < kPanelRows || PaddedPanelDepth(target, k) != k) {
    std::memset(panel, 0, PanelBytes(target, k));
  }
  if (target == DType::kBf16) {
    PackBf16(source, rows, row_count, k, static_cast<uint16_t*>(panel));
  } else {
    PackF32(source, rows, row_count, k, static_cast<float*>(panel));
  }
}

void UnpackRow(DType dtype, const void* matrix, int64_t n, int64_t k,
               float* row) {
  const auto* panel = static_cast<const std::byte*>(matrix) +
                      n / kPanelRows * PanelBytes(dtype, k);
  const int64_t pair = PairDepth(dtype);
  const int64_t lane = n % kPanelRows * pair;
  for (int64_t i = 0; i < k; ++i) {
    row[i] = Load(dtype, panel, i / pair * kPanelRows * pair + lane + i % pair);
  }
}

}  // namespace lapidary::kernels
