// y = W x for many x at once, by oneDNN: one weight matrix, ready to multiply.
//
//   StatusOr<WeightMatrix> w = WeightMatrix::Wrap(DType::kBf16, n, k, panels);
//   MatMul(w, inputs, outputs, &context);
//
// A primitive is made once for each shape and class of batch sizes, because
// oneDNN falls back to slow kernels when the batch size is left open; rows up
// to the class size are computed and thrown away.
#ifndef LAPIDARY_KERNELS_GEMM_WEIGHT_MATRIX_H_
#define LAPIDARY_KERNELS_GEMM_WEIGHT_MATRIX_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// Batches larger than this are multiplied in slices.
inline constexpr int64_t kMaxGemmRows = 512;

// The smallest batch class that holds `rows` (1 ≤ rows ≤ kMaxGemmRows).
int64_t GemmRowClass(int64_t rows);

// Rows to allocate for a matrix that takes part in MatMul with up to `rows`
// rows: whole slices of kMaxGemmRows, and the class of what remains.
int64_t GemmCapacity(int64_t rows);

class WeightMatrix {
 public:
  WeightMatrix() = default;

  // A matrix [n][k] in the panel layout of `dtype` (see panel_layout.h), used
  // where it lies if this CPU multiplies it so: f32 with AVX-512, bf16 with its
  // BF16 instructions. On other CPUs the weights are copied once, as plain f32.
  //   panels  64-byte aligned, alive as long as the WeightMatrix is used
  // Errors: RESOURCE_EXHAUSTED where there is no memory for the copy.
  static absl::StatusOr<WeightMatrix> Wrap(DType dtype, int64_t n, int64_t k,
                                           const void* panels);

  bool empty() const { return panels_ == nullptr; }
  DType dtype() const { return dtype_; }
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  const void* panels() const { return panels_; }

  // Null, or the copy that Wrap made: plain f32 [k][n].
  const float* plain() const {
    return plain_ == nullptr ? nullptr
                             : reinterpret_cast<const float*>(plain_->data());
  }

  // Bytes that a pass over the matrix reads.
  size_t bytes() const;

 private:
  DType dtype_ = DType::kF32;
  int64_t n_ = 0;
  int64_t k_ = 0;
  const void* panels_ = nullptr;
  std::shared_ptr<const AlignedBuffer> plain_;
};

// oneDNN's engine, the primitives made so far and their scratch memory: one
// for each compute thread, used by that thread alone. Primitives remember the
// OpenMP thread count of their creation: set it before the first MatMul.
class GemmContext {
 public:
  GemmContext();
  ~GemmContext();
  GemmContext(const GemmContext&) = delete;
  GemmContext& operator=(const GemmContext&) = delete;

  size_t ScratchBytes() const;

 private:
  friend void MatMul(const WeightMatrix& w, ConstMatrixView inputs,
                     MatrixView outputs, GemmContext* context);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// outputs[r] = W inputs[r].
//   inputs   [rows][k], allocated for GemmCapacity(rows) rows
//   outputs  [rows][n], likewise; may not alias inputs
// f32 weights: f32 throughout. bf16 weights: inputs are rounded to bf16 (not
// on CPUs where Wrap made a copy), products accumulated in f32, outputs f32.
// A row's result does not depend on the values of other rows. It may depend in
// the last bits on the class, whose kernels oneDNN chooses:
// tests/kernels/gemm measures that.
void MatMul(const WeightMatrix& w, ConstMatrixView inputs, MatrixView outputs,
            GemmContext* context);

// Multiplies a small matrix per dtype by oneDNN and by a plain loop and
// compares; false if the library is wrong on this CPU. Takes milliseconds: run
// it once at start.
bool GemmSelfTest();

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_WEIGHT_MATRIX_H_
