// What happens to the channels of pixels between two matrix products: norms,
// activations, skip connections, softmax. Rows of contiguous channels, in the
// widest vectors that the CPU has (Highway, chosen at run time), by the calling
// thread alone.
//
// Results that are the inputs of a product are written in its type, f32 or
// bf16; what bf16 rounds away is not computed. Every reduction adds in an order
// that depends on the row's length and the CPU alone.
#ifndef LAPIDARY_KERNELS_SIMD_CHANNEL_OPS_H_
#define LAPIDARY_KERNELS_SIMD_CHANNEL_OPS_H_

#include <cstdint>

#include "kernels/tensor.h"

namespace lapidary::kernels {

enum class Activation : uint8_t { kNone, kGeluTanh, kSilu };

struct ChannelNorm {
  const float* weight = nullptr;  // [n]; null: no scale
  float eps = 1e-6f;
  Activation activation = Activation::kNone;
};

// out[r] = activation(x[r] / sqrt(mean(x[r]²) + eps) ⊙ weight).
//   x    [rows][n]
//   out  [rows][n] of `type` (kF32 or kBf16); may begin where x does
void NormRows(const float* x, int64_t rows, int64_t n, const ChannelNorm& norm,
              DType type, void* out);

// The same from x as `from`, f32 or bf16; `out` may begin where x does if
// `type` is no wider.
void NormTypedRows(DType from, const void* x, int64_t rows, int64_t n,
                   const ChannelNorm& norm, DType type, void* out);

// out[r] = shortcut[r] + x[r] / sqrt(mean(x[r]²) + eps) ⊙ weight; no shortcut
// where it is null.
//   out  [rows][n]; may alias x or shortcut
void NormRowsAdd(const float* x, int64_t rows, int64_t n,
                 const ChannelNorm& norm, const float* shortcut, float* out);

// out[r] = shortcut[r] + x[r] ⊙ weight; `shortcut` and `weight` may be null.
//   out  [rows][n]; may alias x or shortcut
void ScaleRowsAdd(const float* x, int64_t rows, int64_t n, const float* weight,
                  const float* shortcut, float* out);

// x[r] += bias
void AddBias(const float* bias, int64_t rows, int64_t n, float* x);

// out = x as `type`.
//   x    [count]
//   out  [count]; may begin where x does
void Convert(const float* x, int64_t count, DType type, void* out);

// out[r] = exp(scale · (x[r] - max(x[r]))), sums[r] = Σ out[r] before rounding:
// a softmax whose division is left to DivideRows, after the values' product.
//   x    [rows][n]
//   out  [rows][n] of `type`; may begin where x does
void ExpRows(const float* x, int64_t rows, int64_t n, float scale, DType type,
             void* out, float* sums);

// out[r] = x[r] / sums[r]
//   out  [rows][n] of `type`; may begin where x does
void DivideRows(const float* x, int64_t rows, int64_t n, const float* sums,
                DType type, void* out);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_SIMD_CHANNEL_OPS_H_
