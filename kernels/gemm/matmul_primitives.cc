#include "kernels/gemm/matmul_primitives.h"

#include <omp.h>

#include <tuple>
#include <unordered_map>

#include "kernels/gemm/amx_product.h"
#include "kernels/scratch.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace lapidary::kernels {
namespace {

using dnnl::memory;

memory::data_type ElementType(DType type) {
  return type == DType::kBf16 ? memory::data_type::bf16
                              : memory::data_type::f32;
}

struct SameShape {
  bool operator()(const MatMulShape& a, const MatMulShape& b) const {
    return std::tie(a.rows, a.columns, a.k, a.stride, a.form, a.target) ==
           std::tie(b.rows, b.columns, b.k, b.stride, b.form, b.target);
  }
};

struct ShapeHash {
  size_t operator()(const MatMulShape& s) const {
    size_t h = static_cast<size_t>(s.form) * 16 + static_cast<size_t>(s.target);
    for (int64_t v : {s.rows, s.columns, s.k, s.stride}) {
      h = h * 0x9E3779B97F4A7C15u + v;
    }
    return h ^ (h >> 29);
  }
};

memory::desc WeightsOf(const MatMulShape& s) {
  const memory::dims dims = {s.k, s.columns};
  switch (s.form) {
    case WeightForm::kPanelsF32:
      return {dims, memory::data_type::f32, memory::format_tag::BA16a64b};
    case WeightForm::kPanelsBf16:
      return {dims, memory::data_type::bf16, memory::format_tag::BA16a64b2a};
    case WeightForm::kPlainF32:
      break;
  }
  return {dims, memory::data_type::f32, memory::dims{s.stride, 1}};
}

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

  MatMulPrimitive(const dnnl::engine& engine, const MatMulShape& shape) {
    source =
        memory::desc({shape.rows, shape.k}, ElementType(SourceType(shape.form)),
                     memory::format_tag::ab);
    weights = WeightsOf(shape);
    target = memory::desc({shape.rows, shape.columns},
                          ElementType(shape.target), memory::format_tag::ab);
    const auto description = Describe(engine, source, weights, target);
    scratchpad = description.scratchpad_desc();
    primitive = dnnl::matmul(description);
  }
};

}  // namespace

WeightForm FormOf(const WeightMatrix& w) {
  if (w.plain() != nullptr) return WeightForm::kPlainF32;
  return w.dtype() == DType::kBf16 ? WeightForm::kPanelsBf16
                                   : WeightForm::kPanelsF32;
}

DType SourceType(WeightForm form) {
  return form == WeightForm::kPanelsBf16 ? DType::kBf16 : DType::kF32;
}

bool AmxAllowed() {
  static const bool allowed = [] {
    constexpr int kAmx = static_cast<int>(dnnl::cpu_isa::avx512_core_amx);
    const int effective = static_cast<int>(dnnl::get_effective_cpu_isa());
    return (effective & kAmx) == kAmx && AmxProductUsable();
  }();
  return allowed;
}

bool UsesAmxProduct(WeightForm form) {
  return form == WeightForm::kPanelsBf16 && AmxAllowed();
}

struct MatMulPrimitives::Impl {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::unordered_map<MatMulShape, MatMulPrimitive, ShapeHash, SameShape>
      primitives;
  Scratch scratchpad;  // the library's

  const MatMulPrimitive& Find(const MatMulShape& shape) {
    const auto found = primitives.find(shape);
    if (found != primitives.end()) return found->second;
    omp_set_num_threads(1);  // a primitive remembers it
    return primitives.emplace(shape, MatMulPrimitive(engine, shape))
        .first->second;
  }
};

MatMulPrimitives::MatMulPrimitives() : impl_(std::make_unique<Impl>()) {}
MatMulPrimitives::~MatMulPrimitives() = default;

void MatMulPrimitives::Execute(const MatMulShape& shape, const void* source,
                               const void* weights, void* target) {
  if (UsesAmxProduct(shape.form)) {
    AmxMultiply({AmxInputs::Plain(static_cast<const uint16_t*>(source),
                                  shape.rows, shape.k),
                 shape.columns, static_cast<const std::byte*>(weights), target,
                 shape.target});
    return;
  }
  const MatMulPrimitive& p = impl_->Find(shape);
  memory x(p.source, impl_->engine, const_cast<void*>(source));
  memory m(p.weights, impl_->engine, const_cast<void*>(weights));
  memory y(p.target, impl_->engine, target);
  memory s(p.scratchpad, impl_->engine,
           impl_->scratchpad.Room<std::byte>(p.scratchpad.get_size()));
  p.primitive.execute(impl_->stream, {{DNNL_ARG_SRC, x},
                                      {DNNL_ARG_WEIGHTS, m},
                                      {DNNL_ARG_DST, y},
                                      {DNNL_ARG_SCRATCHPAD, s}});
}

void MatMulPrimitives::MultiplyAs(DType type, const WeightMatrix& w,
                                  int64_t rows, const void* source,
                                  void* target) {
  const WeightForm form = FormOf(w);
  const bool plain = form == WeightForm::kPlainF32;
  const void* weights = plain ? w.plain() : w.data();
  Execute({rows, w.n(), w.k(), plain ? w.n() : 0, form, type}, source, weights,
          target);
}

void MatMulPrimitives::Multiply(const WeightMatrix& w, int64_t rows,
                                const void* source, float* target) {
  MultiplyAs(DType::kF32, w, rows, source, target);
}

void MatMulPrimitives::MultiplyAsSource(const WeightMatrix& w, int64_t rows,
                                        const void* source, void* target) {
  MultiplyAs(SourceType(FormOf(w)), w, rows, source, target);
}

size_t MatMulPrimitives::bytes() const { return impl_->scratchpad.bytes(); }

}  // namespace lapidary::kernels
