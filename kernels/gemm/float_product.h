// y = W x for f32 and bf16 weights, by oneDNN or AMX.
//
// Each compute thread multiplies by its own columns of every matrix with a
// primitive of its own that knows one thread only: oneDNN's OpenMP threads
// would spin beside ours.
#ifndef LAPIDARY_KERNELS_GEMM_FLOAT_PRODUCT_H_
#define LAPIDARY_KERNELS_GEMM_FLOAT_PRODUCT_H_

#include <cstddef>
#include <memory>

#include "kernels/gemm/weight_matrix.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// Primitives are made at the first use of a shape and kept; so is memory.
class FloatProducts {
 public:
  FloatProducts();
  ~FloatProducts();
  FloatProducts(const FloatProducts&) = delete;
  FloatProducts& operator=(const FloatProducts&) = delete;

  // outputs[r] = W inputs[r], as MatMul has it.
  //   inputs   [rows][k], allocated for GemmCapacity(rows) rows
  //   outputs  [rows][n], likewise; may not alias inputs
  void Multiply(const WeightMatrix& w, ConstMatrixView inputs,
                MatrixView outputs);

  size_t bytes() const;

 private:
  struct Lane;  // of one compute thread
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_FLOAT_PRODUCT_H_
