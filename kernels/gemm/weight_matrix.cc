#include "kernels/gemm/weight_matrix.h"

#include <algorithm>
#include <new>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/gemm/weight_layout.h"
#include "kernels/quant/activations.h"
#include "kernels/quant/product.h"
#include "kernels/quant/quant_layout.h"
#include "kernels/simd/row_ops.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace lapidary::kernels {
namespace {

using dnnl::memory;

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

// How an f32 or bf16 WeightMatrix lies in memory, as oneDNN sees it.
enum class WeightForm : uint8_t { kPanelsF32, kPanelsBf16, kPlainF32 };

WeightForm FormOf(const WeightMatrix& w) {
  if (w.plain() != nullptr) return WeightForm::kPlainF32;
  return w.dtype() == DType::kBf16 ? WeightForm::kPanelsBf16
                                   : WeightForm::kPanelsF32;
}

memory::data_type ElementType(WeightForm form) {
  return form == WeightForm::kPanelsBf16 ? memory::data_type::bf16
                                         : memory::data_type::f32;
}

memory::format_tag WeightTag(WeightForm form) {
  switch (form) {
    case WeightForm::kPanelsF32:
      return memory::format_tag::BA16a64b;
    case WeightForm::kPanelsBf16:
      return memory::format_tag::BA16a64b2a;
    case WeightForm::kPlainF32:
      break;
  }
  return memory::format_tag::ab;
}

struct Shape {
  int64_t rows, n, k;
  WeightForm form;

  bool operator==(const Shape& o) const {
    return std::tie(rows, n, k, form) == std::tie(o.rows, o.n, o.k, o.form);
  }
};

struct ShapeHash {
  size_t operator()(const Shape& s) const {
    size_t h = static_cast<size_t>(s.form);
    for (int64_t v : {s.rows, s.n, s.k}) h = h * 0x9E3779B97F4A7C15u + v;
    return h ^ (h >> 29);
  }
};

// The one place that knows how a matmul primitive is made; oneDNN 3 dropped
// the operation descriptor.
dnnl::matmul::primitive_desc Describe(const dnnl::engine& engine,
                                      const memory::desc& source,
                                      const memory::desc& weights,
                                      const memory::desc& target) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::matmul::primitive_desc(engine, source, weights, target,
                                      attributes);
#else
  return dnnl::matmul::primitive_desc(
      dnnl::matmul::desc(source, weights, target), attributes, engine);
#endif
}

struct MatMulPrimitive {
  memory::desc source, weights, target, scratchpad;
  dnnl::matmul primitive;

  MatMulPrimitive(const dnnl::engine& engine, const Shape& shape) {
    source = memory::desc({shape.rows, shape.k}, ElementType(shape.form),
                          memory::format_tag::ab);
    weights = memory::desc({shape.k, shape.n}, ElementType(shape.form),
                           WeightTag(shape.form));
    target = memory::desc({shape.rows, shape.n}, memory::data_type::f32,
                          memory::format_tag::ab);
    const auto description = Describe(engine, source, weights, target);
    scratchpad = description.scratchpad_desc();
    primitive = dnnl::matmul(description);
  }
};

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
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::unordered_map<Shape, MatMulPrimitive, ShapeHash> primitives;
  std::shared_ptr<AlignedBuffer> rounded;     // inputs as bf16
  std::shared_ptr<AlignedBuffer> scratchpad;  // the library's
  QuantRows quantized;                        // inputs as 8 bits

  static void* Room(std::shared_ptr<AlignedBuffer>* buffer, size_t bytes) {
    if (*buffer == nullptr || (*buffer)->size() < bytes) {
      *buffer = AlignedBuffer::Make(bytes);
      // Ends the actor that computes, as a vector that cannot grow would.
      if (*buffer == nullptr) throw std::bad_alloc();
    }
    return (*buffer)->data();
  }

  const MatMulPrimitive& Find(const Shape& shape) {
    const auto found = primitives.find(shape);
    if (found != primitives.end()) return found->second;
    return primitives.emplace(shape, MatMulPrimitive(engine, shape))
        .first->second;
  }

  // By oneDNN, one slice of at most kMaxGemmRows rows.
  void MultiplySlice(const WeightMatrix& w, ConstMatrixView inputs,
                     float* outputs) {
    const WeightForm form = FormOf(w);
    const int64_t rows = GemmRowClass(inputs.rows);
    const MatMulPrimitive& p = Find({rows, w.n(), w.k(), form});
    const void* source = inputs.data;
    if (form == WeightForm::kPanelsBf16) {
      auto* bits = static_cast<uint16_t*>(Room(&rounded, rows * w.k() * 2));
      RowsToBf16(inputs, bits);
      source = bits;
    }
    const void* weights = form == WeightForm::kPlainF32 ? w.plain() : w.data();
    memory x(p.source, engine, const_cast<void*>(source));
    memory m(p.weights, engine, const_cast<void*>(weights));
    memory y(p.target, engine, outputs);
    memory s(p.scratchpad, engine, Room(&scratchpad, p.scratchpad.get_size()));
    p.primitive.execute(stream, {{DNNL_ARG_SRC, x},
                                 {DNNL_ARG_WEIGHTS, m},
                                 {DNNL_ARG_DST, y},
                                 {DNNL_ARG_SCRATCHPAD, s}});
  }

  void MultiplyFloats(const WeightMatrix& w, ConstMatrixView inputs,
                      MatrixView outputs) {
    for (int64_t first = 0; first < inputs.rows; first += kMaxGemmRows) {
      const int64_t rows = std::min(kMaxGemmRows, inputs.rows - first);
      MultiplySlice(w, ConstMatrixView(inputs.row(first), rows, inputs.cols),
                    outputs.row(first));
    }
  }
};

GemmContext::GemmContext() : impl_(std::make_unique<Impl>()) {}
GemmContext::~GemmContext() = default;

size_t GemmContext::ScratchBytes() const {
  size_t bytes = impl_->quantized.bytes();
  for (const auto& buffer : {impl_->rounded, impl_->scratchpad}) {
    if (buffer != nullptr) bytes += buffer->size();
  }
  return bytes;
}

void MatMul(const WeightMatrix& w, ConstMatrixView inputs, MatrixView outputs,
            GemmContext* context) {
  MatMulAll(inputs, {{&w, outputs}}, context);
}

void MatMulAll(ConstMatrixView inputs, absl::Span<const Product> products,
               GemmContext* context) {
  QuantRows& quantized = context->impl_->quantized;
  bool is_quantized = false;
  for (const auto& [w, outputs] : products) {
    if (!IsQuantized(w->dtype())) {
      context->impl_->MultiplyFloats(*w, inputs, outputs);
      continue;
    }
    if (!is_quantized) quantized.Quantize(inputs);
    is_quantized = true;
    QuantMatMul({w->dtype(), w->n(), w->k(), w->data()}, quantized, outputs);
  }
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
