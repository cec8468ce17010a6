// The matrix product of f32 and bf16 weights for one thread: oneDNN primitives
// that know one thread only, since oneDNN's OpenMP threads would spin beside
// ours. Made at the first use of a shape and kept; so is memory. Where the CPU
// has AMX, bf16 weights are multiplied by amx_product.h instead. (f32 ones by
// amx_f32.h where a caller keeps its inputs in parts, as the audio tower does.)
#ifndef LAPIDARY_KERNELS_GEMM_MATMUL_PRIMITIVES_H_
#define LAPIDARY_KERNELS_GEMM_MATMUL_PRIMITIVES_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/gemm/weight_matrix.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// How the weights lie in memory, as oneDNN sees them.
enum class WeightForm : uint8_t { kPanelsF32, kPanelsBf16, kPlainF32 };

WeightForm FormOf(const WeightMatrix& w);

// Of the inputs that weights of this form are multiplied by.
DType SourceType(WeightForm form);

// Whether AMX products may be used: the CPU has them, and nobody has kept
// oneDNN to a smaller instruction set, which bounds our own kernels too.
bool AmxAllowed();

// Whether weights of this form are multiplied by amx_product.h: any number of
// rows is as good as another, and a row is the same in any.
bool UsesAmxProduct(WeightForm form);

struct MatMulShape {
  int64_t rows = 0, columns = 0, k = 0;
  int64_t stride = 0;  // between rows of plain weights [k][columns]
  WeightForm form = WeightForm::kPanelsF32;
  DType target = DType::kF32;  // or SourceType(form)
};

// Used by one thread at a time.
class MatMulPrimitives {
 public:
  MatMulPrimitives();
  ~MatMulPrimitives();
  MatMulPrimitives(const MatMulPrimitives&) = delete;
  MatMulPrimitives& operator=(const MatMulPrimitives&) = delete;

  //   source   [rows][k] of SourceType(form)
  //   weights  [columns][k] as panels, or [k][columns] plain
  //   target   [rows][columns] of shape.target; may not alias source
  void Execute(const MatMulShape& shape, const void* source,
               const void* weights, void* target);

  // target[r] = W source[r], all of W.
  //   source  [rows][w.k()] of SourceType(FormOf(w))
  void Multiply(const WeightMatrix& w, int64_t rows, const void* source,
                float* target);
  // The same as the inputs of another product: of SourceType(FormOf(w)).
  void MultiplyAsSource(const WeightMatrix& w, int64_t rows, const void* source,
                        void* target);

  size_t bytes() const;

 private:
  void MultiplyAs(DType type, const WeightMatrix& w, int64_t rows,
                  const void* source, void* target);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_MATMUL_PRIMITIVES_H_
