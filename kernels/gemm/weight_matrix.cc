#include "kernels/gemm/weight_matrix.h"

#include <algorithm>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/gemm/float_product.h"
#include "kernels/gemm/weight_layout.h"
#include "kernels/quant/activations.h"
#include "kernels/quant/product.h"
#include "kernels/quant/quant_layout.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace lapidary::kernels {
namespace {

bool CpuHas(dnnl::cpu_isa isa) {
  const int have = static_cast<int>(dnnl::get_effective_cpu_isa());
  const int want = static_cast<int>(isa);
  return (have & want) == want;
}

// Whether the matrix is multiplied where it lies on this CPU.
bool UsedInPlace(DType dtype) {
  if (IsQuantized(dtype)) return true;
  return CpuHas(dtype == DType::kBf16 ? dnnl::cpu_isa::avx512_core_bf16
                                      : dnnl::cpu_isa::avx512_core);
}

}  // namespace

int64_t GemmRowClass(int64_t rows) {
  for (int64_t small : {1, 2, 4, 8, 16, 32, 48}) {
    if (rows <= small) return small;
  }
  return (rows + 63) / 64 * 64;
}

int64_t GemmCapacity(int64_t rows) {
  const int64_t rest = rows % kMaxGemmRows;
  return rows - rest + (rest == 0 ? 0 : GemmRowClass(rest));
}

absl::StatusOr<WeightMatrix> WeightMatrix::Wrap(DType dtype, int64_t n,
                                                int64_t k, const void* data) {
  WeightMatrix w;
  w.dtype_ = dtype;
  w.n_ = n;
  w.k_ = k;
  w.data_ = data;
  if (UsedInPlace(dtype)) return w;
  auto plain = AlignedBuffer::Make(n * k * sizeof(float));
  if (plain == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", n * k * sizeof(float),
                     " bytes: this CPU needs an f32 "
                     "copy of a [",
                     n, ", ", k, "] weight matrix"));
  }
  auto* out = reinterpret_cast<float*>(plain->data());
  std::vector<float> row(k);
  for (int64_t r = 0; r < n; ++r) {
    w.ReadRow(r, row.data());
    for (int64_t i = 0; i < k; ++i) out[i * n + r] = row[i];
  }
  w.plain_ = std::move(plain);
  return w;
}

size_t WeightMatrix::bytes() const {
  return plain_ != nullptr ? plain_->size()
                           : WeightMatrixBytes(dtype_, n_, k_).value_or(0);
}

void WeightMatrix::ReadRow(int64_t row, float* out) const {
  UnpackWeightRow(dtype_, data_, row, k_, out);
}

struct GemmContext::Impl {
  FloatProducts floats;
  QuantRows quantized;  // inputs as 8 bits
};

GemmContext::GemmContext() : impl_(std::make_unique<Impl>()) {}
GemmContext::~GemmContext() = default;

size_t GemmContext::ScratchBytes() const {
  return impl_->quantized.bytes() + impl_->floats.bytes();
}

void MatMul(const WeightMatrix& w, ConstMatrixView inputs, MatrixView outputs,
            GemmContext* context) {
  MatMulAll(inputs, {{&w, outputs}}, context);
}

void MatMulAll(ConstMatrixView inputs, absl::Span<const Product> products,
               GemmContext* context) {
  absl::InlinedVector<QuantProduct, 4> quantized;
  for (const auto& [w, outputs] : products) {
    if (IsQuantized(w->dtype())) {
      quantized.push_back({{w->dtype(), w->n(), w->k(), w->data()}, outputs});
    } else {
      context->impl_->floats.Multiply(*w, inputs, outputs);
    }
  }
  if (quantized.empty()) return;
  context->impl_->quantized.Quantize(inputs);
  QuantMatMulAll(context->impl_->quantized, quantized);
}

void ExpectMatMulAll(absl::Span<const WeightMatrix* const> weights) {
  absl::InlinedVector<QuantMatrix, 4> quantized;
  for (const WeightMatrix* w : weights) {
    if (!w->empty() && IsQuantized(w->dtype())) {
      quantized.push_back({w->dtype(), w->n(), w->k(), w->data()});
    }
  }
  if (!quantized.empty()) ExpectQuantMatMulAll(quantized);
}

namespace {

bool MultipliesRight(DType dtype) {
  constexpr int64_t kRows = 3, kN = 70, kK = 50;
  std::vector<float> weights(kN * kK), inputs(GemmCapacity(kRows) * kK);
  // Small integers: exact in bf16 and in any order of summation.
  for (int64_t i = 0; i < kN * kK; ++i) weights[i] = i * 7 % 13 - 6;
  for (int64_t i = 0; i < kRows * kK; ++i) inputs[i] = i * 5 % 11 - 5;
  auto packed = AlignedBuffer::Make(*WeightMatrixBytes(dtype, kN, kK));
  const int64_t step = WeightPanelRows(dtype);
  for (int64_t n = 0; n < kN; n += step) {
    PackWeightPanel(DType::kF32, &weights[n * kK], std::min(step, kN - n), kK,
                    dtype,
                    packed->data() + n / step * *WeightPanelBytes(dtype, kK));
  }
  const auto w = WeightMatrix::Wrap(dtype, kN, kK, packed->data());
  if (!w.ok()) return false;
  std::vector<float> outputs(GemmCapacity(kRows) * kN);
  GemmContext context;
  MatMul(*w, {inputs.data(), kRows, kK}, {outputs.data(), kRows, kN}, &context);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t n = 0; n < kN; ++n) {
      float sum = 0;
      for (int64_t i = 0; i < kK; ++i) {
        sum += weights[n * kK + i] * inputs[r * kK + i];
      }
      if (outputs[r * kN + n] != sum) return false;
    }
  }
  return true;
}

}  // namespace

bool GemmSelfTest() {
  return MultipliesRight(DType::kF32) && MultipliesRight(DType::kBf16) &&
         ProductSelfTest();
}

}  // namespace lapidary::kernels
