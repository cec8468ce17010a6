// Element-wise and reducing operations on one row of f32 numbers, in the
// widest vectors that the CPU has (Highway, chosen at run time).
//
// Every reduction adds in an order that depends on the row's length and the
// CPU alone, so a row's result does not depend on its neighbours.
#ifndef LAPIDARY_KERNELS_SIMD_ROW_OPS_H_
#define LAPIDARY_KERNELS_SIMD_ROW_OPS_H_

#include <cstdint>

#include "kernels/tensor.h"

namespace lapidary::kernels {

// Σ a_i b_i
float Dot(const float* a, const float* b, int64_t n);

// (Σ x_i²) / n
float MeanOfSquares(const float* x, int64_t n);

// out = x / sqrt(mean(x²) + eps) ⊙ weight (Gemma3nRMSNorm: weight is plain, not
// 1 + weight). `weight` null: no scale. `out` may alias `x`.
void RmsNorm(const float* x, const float* weight, float eps, int64_t n,
             float* out);

// y += a x
void AddScaled(float a, const float* x, int64_t n, float* y);

// out = a x + y; `out` may alias `y`.
void ScaledSum(float a, const float* x, const float* y, int64_t n, float* out);

// out_i = x_i + Σ_j coefficients[i][j] x_j over `rows` rows of n, at most 8,
// the sum in the order of j.
//   x, out  [rows] pointers; no row of `out` may alias one of `x`
void MixRows(const float* coefficients, int64_t rows, const float* const* x,
             int64_t n, float* const* out);

// y = a x; `y` may alias `x`.
void Scale(float a, const float* x, int64_t n, float* y);

// x = gelu_pytorch_tanh(x) ⊙ y
//   gelu(x) = x/2 (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))
void GeluTanhTimes(const float* y, int64_t n, float* x);

// Gemma3nTextMLP._gaussian_topk: x = max(x - cutoff, 0) with cutoff =
// mean(x) + multiplier · std(x), the population's standard deviation.
// Survivors are shifted by the cutoff. A NaN or an infinity in x leaves nothing
// but NaN.
void GaussianTopK(float multiplier, int64_t n, float* x);

// Bit i % 64 of word i / 64 says whether x_i is not 0, which a NaN is not.
//   bits  [ceil(n / 64)]; bits from n on are 0
void NonZeroBits(const float* x, int64_t n, uint64_t* bits);

// x = cap · tanh(x / cap)
void SoftCap(float cap, int64_t n, float* x);

// x = softmax(x), with the maximum subtracted first.
void Softmax(int64_t n, float* x);

// Rounds to bf16, to nearest even.
void ToBf16(const float* x, int64_t n, uint16_t* out);

// All rows of a matrix, by all threads.
void RowsToBf16(ConstMatrixView rows, uint16_t* out);

// out = scale · x, from bf16.
void FromBf16(const uint16_t* x, float scale, int64_t n, float* out);

// The vector instruction set in use: "AVX3", "AVX2", …
const char* VectorTarget();

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_SIMD_ROW_OPS_H_
