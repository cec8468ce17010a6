// y = W x for many x at once: one weight matrix, ready to multiply whatever
// its dtype.
//
//   StatusOr<WeightMatrix> w = WeightMatrix::Wrap(DType::kInt4, n, k, data);
//   MatMul(w, inputs, outputs, &context);
//
// int8 and int4 are multiplied by our own kernels (quant/product.h), whose
// results do not depend on the batch; f32 and bf16 by oneDNN, with a primitive
// made once for each shape and class of batch sizes, because it falls back to
// slow kernels when the batch size is left open; rows up to the class size are
// computed and thrown away. bf16 by our own kernel where the CPU has AMX
// (amx_product.h), whose results do not depend on the batch either.
#ifndef LAPIDARY_KERNELS_GEMM_WEIGHT_MATRIX_H_
#define LAPIDARY_KERNELS_GEMM_WEIGHT_MATRIX_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
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

  // A matrix [n][k] in the layout of `dtype` (weight_layout.h), used where it
  // lies if this CPU multiplies it so: int8 and int4 always, f32 with AVX-512,
  // bf16 with its BF16 instructions. Otherwise it is copied once, as plain f32.
  //   data  64-byte aligned, alive as long as the WeightMatrix is used
  // Errors: RESOURCE_EXHAUSTED where there is no memory for the copy.
  static absl::StatusOr<WeightMatrix> Wrap(DType dtype, int64_t n, int64_t k,
                                           const void* data);

  bool empty() const { return data_ == nullptr; }
  DType dtype() const { return dtype_; }
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  const void* data() const { return data_; }

  // Null, or the copy that Wrap made: plain f32 [k][n].
  const float* plain() const {
    return plain_ == nullptr ? nullptr
                             : reinterpret_cast<const float*>(plain_->data());
  }

  // Bytes that a pass over the matrix reads.
  size_t bytes() const;

  // Row `row` as f32: of the tied head, a token's embedding.
  //   out  [k]
  void ReadRow(int64_t row, float* out) const;

 private:
  DType dtype_ = DType::kF32;
  int64_t n_ = 0;
  int64_t k_ = 0;
  const void* data_ = nullptr;
  std::shared_ptr<const AlignedBuffer> plain_;
};

// One of the matrices that the same inputs are multiplied by.
struct Product {
  const WeightMatrix* weights = nullptr;
  MatrixView outputs;
};

// The primitives made so far and scratch memory: one for each caller, used by
// that thread alone and the team that works for it (parallel.h).
class GemmContext {
 public:
  GemmContext();
  ~GemmContext();
  GemmContext(const GemmContext&) = delete;
  GemmContext& operator=(const GemmContext&) = delete;

  size_t ScratchBytes() const;

 private:
  friend void MatMulAll(ConstMatrixView inputs,
                        absl::Span<const Product> products,
                        GemmContext* context);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// outputs[r] = W inputs[r].
//   inputs   [rows][k], allocated for GemmCapacity(rows) rows
//   outputs  [rows][n], likewise; may not alias inputs
// int8 and int4 weights: inputs are quantised to 8 bits; a row's result depends
// on that row alone. f32 weights: f32 throughout. bf16 weights: inputs are
// rounded to bf16 (not on CPUs where Wrap made a copy), products accumulated in
// f32. For both, a row's result does not depend on the values of other rows. It
// may depend in the last bits on the class, whose kernels oneDNN chooses:
// tests/kernels/gemm measures that.
void MatMul(const WeightMatrix& w, ConstMatrixView inputs, MatrixView outputs,
            GemmContext* context);

// The same for several matrices; what inputs must be turned into is made once.
void MatMulAll(ConstMatrixView inputs, absl::Span<const Product> products,
               GemmContext* context);

// Says that MatMulAll by these matrices, with few rows, comes next: idle
// threads meanwhile read where they will begin. Does nothing for f32 and bf16.
void ExpectMatMulAll(absl::Span<const WeightMatrix* const> weights);

// Multiplies a small matrix per dtype and compares with a plain loop (f32,
// bf16) or the portable kernels (int8, int4); false if one is wrong on this
// CPU. Takes milliseconds: run it once at start.
bool GemmSelfTest();

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_WEIGHT_MATRIX_H_
