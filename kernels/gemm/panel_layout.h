// The order of a weight matrix in memory and in the packed model's files:
// panels of 64 output rows, so that a small batch streams the weights once,
// front to back.
//
//   source  [n][k]   row-major, y = W x (PyTorch's [out, in])
//   f32     [ceil(n/64)][k up to a multiple of 16][64]
//   bf16    [ceil(n/64)][k/2, k up to a multiple of 32][64][2]
//
// These are oneDNN's BA16a64b and BA16a64b2a, which its AVX-512 matmul wants
// for every batch size. Padding is zero.
#ifndef LAPIDARY_KERNELS_GEMM_PANEL_LAYOUT_H_
#define LAPIDARY_KERNELS_GEMM_PANEL_LAYOUT_H_

#include <cstddef>
#include <cstdint>

#include "kernels/tensor.h"

namespace lapidary::kernels {

inline constexpr int64_t kPanelRows = 64;

// Inner size k, padded as the layout of `dtype` (kF32 or kBf16) has it.
int64_t PaddedPanelDepth(DType dtype, int64_t k);

// Bytes of one panel, and of a whole [n][k] matrix.
size_t PanelBytes(DType dtype, int64_t k);
size_t PanelMatrixBytes(DType dtype, int64_t n, int64_t k);

// Writes one panel.
//   rows   [row_count][k]  the source rows of the panel, row_count ≤ 64, of
//                          type `source`
//   panel  PanelBytes(target, k) bytes, 64-byte aligned
// Conversions: bf16 → f32 exact, f32 → bf16 to nearest even.
void PackPanel(DType source, const void* rows, int64_t row_count, int64_t k,
               DType target, void* panel);

// Reads row `n` of a packed [*][k] matrix back as f32: how an embedding row is
// taken from the tied head.
//   row  [k]
void UnpackRow(DType dtype, const void* matrix, int64_t n, int64_t k,
               float* row);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_PANEL_LAYOUT_H_
