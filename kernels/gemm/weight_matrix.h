// y = W x for many x at once, by oneDNN: one weight matrix, ready to multiply.
//
//   WeightMatrix w = WeightMatrix::Wrap(DType::kBf16, n, k, panels);
//   MatMul(w, inputs, outputs, &scratch);
//
// A primitive is made once for each class of batch sizes (1, 2, 4, … 512 rows)
// and shape, because oneDNN falls back to slow kernels when the batch size is
// left open; rows up to the class size are computed and thrown away.
#ifndef LAPIDARY_KERNELS_GEMM_WEIGHT_MATRIX_H_
#define LAPIDARY_KERNELS_GEMM_WEIGHT_MATRIX_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/tensor.h"

namespace lapidary::kernels {

// Batches larger than this are multiplied in slices.
inline constexpr int64_t kMaxGemmRows = 512;

// The smallest batch class that holds `rows` (1 ≤ rows ≤ kMaxGemmRows).
// Inputs and outputs of MatMul must have room for so many rows.
int64_t GemmRowClass(int64_t rows);

// Rows to allocate for a matrix that takes part in MatMul with up to `rows`
// rows.
int64_t GemmCapacity(int64_t rows);

class WeightMatrix {
 public:
  WeightMatrix() = default;

  // A matrix [n][k] in the panel layout of `dtype` (see panel_layout.h), which
  // stays where it is where the CPU has AVX-512 (and, for bf16, its BF16
  // instructions are emulated by oneDNN otherwise). On older CPUs the weights
  // are copied once into the order that oneDNN likes there, as f32.
  //   panels  64-byte aligned, alive as long as the WeightMatrix is used
  static WeightMatrix Wrap(DType dtype, int64_t n, int64_t k,
                           const void* panels);

  bool empty() const { return panels_ == nullptr; }
  DType dtype() const { return dtype_; }
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  const void* panels() const { return panels_; }

  // Null, or the copy that Wrap made: plain f32 [k][n].
  const float* plain() const {
    return plain_ == nullptr
               ? nullptr
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

// Memory that MatMul needs beside its operands: one per compute thread. Grows
// to the largest call and stays.
class GemmScratch {
 public:
  // At least `bytes`, 64-byte aligned; contents undefined.
  std::byte* Input(size_t bytes) { return Grow(&input_, bytes); }
  std::byte* Library(size_t bytes) { return Grow(&library_, bytes); }

 private:
  static std::byte* Grow(std::shared_ptr<AlignedBuffer>* buffer, size_t bytes);

  std::shared_ptr<AlignedBuffer> input_;
  std::shared_ptr<AlignedBuffer> library_;
};

// outputs[r] = W inputs[r].
//   inputs   [rows][k], allocated for GemmCapacity(rows) rows
//   outputs  [rows][n], likewise; may not alias inputs
// f32 weights: f32 throughout. bf16 weights: inputs are rounded to bf16,
// products accumulated in f32, outputs f32.
void MatMul(const WeightMatrix& w, ConstMatrixView inputs, MatrixView outputs,
            GemmScratch* scratch);

// Multiplies a small matrix per dtype by oneDNN and by a plain loop and
// compares; false if the library is wrong on this CPU. Takes milliseconds: run
// it once at start.
bool GemmSelfTest();

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_WEIGHT_MATRIX_H_
