// y = W x with int8 or int4 weights, for any number of x at once.
//
//   QuantRows x;
//   x.Quantize(inputs);
//   QuantMatMul(w, x, outputs);
//
// One arithmetic (product_kernels.h) whatever the batch: a row's outputs are
// the same to the bit alone, in any company, by any number of threads and on
// any CPU.
#ifndef LAPIDARY_KERNELS_QUANT_PRODUCT_H_
#define LAPIDARY_KERNELS_QUANT_PRODUCT_H_

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/quant/activations.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// A matrix [n][k] in the layout of `dtype` (quant_layout.h) that somebody else
// owns, 64-byte aligned.
struct QuantMatrix {
  DType dtype = DType::kInt8;  // or kInt4
  int64_t n = 0;
  int64_t k = 0;
  const void* data = nullptr;
};

// One of the products of the same activations.
struct QuantProduct {
  QuantMatrix weights;
  MatrixView outputs;  // [rows][n]
};

// outputs[r] = W x[r] for each of the products, by all threads, which meet once
// at the end.
//   x  rows of k
void QuantMatMulAll(const QuantRows& x,
                    absl::Span<const QuantProduct> products);
void QuantMatMul(const QuantMatrix& w, const QuantRows& x, MatrixView out);

// Says that a product of a few rows by these matrices, in this order, comes
// next: idle threads meanwhile read where they will begin.
void ExpectQuantMatMulAll(absl::Span<const QuantMatrix> weights);

// Multiplies a small matrix of each dtype by the kernels in use and by the
// portable ones; false if they differ.
bool ProductSelfTest();

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_PRODUCT_H_
