#include "kernels/gemm/float_product.h"

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "kernels/gemm/panel_layout.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"
#include "kernels/simd/row_ops.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace lapidary::kernels {
namespace {

using dnnl::memory;

// Bytes of weights from which waking the team costs less than it gains.
constexpr size_t kTeamBytes = 64 << 10;

// How the weights lie in memory, as oneDNN sees them.
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

struct Shape {
  int64_t rows, columns, k;
  int64_t stride;  // between rows of plain weights
  WeightForm form;

  bool operator==(const Shape& o) const {
    return std::tie(rows, columns, k, stride, form) ==
           std::tie(o.rows, o.columns, o.k, o.stride, o.form);
  }
};

struct ShapeHash {
  size_t operator()(const Shape& s) const {
    size_t h = static_cast<size_t>(s.form);
    for (int64_t v : {s.rows, s.columns, s.k, s.stride}) {
      h = h * 0x9E3779B97F4A7C15u + v;
    }
    return h ^ (h >> 29);
  }
};

memory::desc WeightsOf(const Shape& s) {
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

  MatMulPrimitive(const dnnl::engine& engine, const Shape& shape) {
    source = memory::desc({shape.rows, shape.k}, ElementType(shape.form),
                          memory::format_tag::ab);
    weights = WeightsOf(shape);
    target = memory::desc({shape.rows, shape.columns}, memory::data_type::f32,
                          memory::format_tag::ab);
    const auto description = Describe(engine, source, weights, target);
    scratchpad = description.scratchpad_desc();
    primitive = dnnl::matmul(description);
  }
};

}  // namespace

struct FloatProducts::Lane {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::unordered_map<Shape, MatMulPrimitive, ShapeHash> primitives;
  Scratch scratchpad;  // the library's
  Scratch columns;     // its part of the outputs

  const MatMulPrimitive& Find(const Shape& shape) {
    const auto found = primitives.find(shape);
    if (found != primitives.end()) return found->second;
    omp_set_num_threads(1);  // a primitive remembers it
    return primitives.emplace(shape, MatMulPrimitive(engine, shape))
        .first->second;
  }

  //   target  [shape.rows][shape.columns]
  void Execute(const Shape& shape, const void* source, const void* weights,
               void* target) {
    const MatMulPrimitive& p = Find(shape);
    memory x(p.source, engine, const_cast<void*>(source));
    memory m(p.weights, engine, const_cast<void*>(weights));
    memory y(p.target, engine, target);
    memory s(p.scratchpad, engine,
             scratchpad.Room<std::byte>(p.scratchpad.get_size()));
    p.primitive.execute(stream, {{DNNL_ARG_SRC, x},
                                 {DNNL_ARG_WEIGHTS, m},
                                 {DNNL_ARG_DST, y},
                                 {DNNL_ARG_SCRATCHPAD, s}});
  }
};

struct FloatProducts::Impl {
  std::vector<std::unique_ptr<Lane>> lanes;  // [compute threads]
  Scratch rounded;                           // inputs as bf16

  // Columns [first, last) of a slice of at most kMaxGemmRows rows; `first` is
  // where a panel begins.
  void MultiplyColumns(const WeightMatrix& w, const void* source, int64_t rows,
                       int64_t first, int64_t last, Lane* lane,
                       MatrixView outputs) {
    const WeightForm form = FormOf(w);
    const int64_t columns = last - first;
    const Shape shape{GemmRowClass(rows), columns, w.k(),
                      form == WeightForm::kPlainF32 ? w.n() : 0, form};
    const auto* weights =
        form == WeightForm::kPlainF32
            ? reinterpret_cast<const std::byte*>(w.plain() + first)
            : static_cast<const std::byte*>(w.data()) +
                  first / kPanelRows * PanelBytes(w.dtype(), w.k());
    if (columns == w.n()) {
      lane->Execute(shape, source, weights, outputs.data);
      return;
    }
    auto* dense = lane->columns.Room<float>(shape.rows * columns);
    lane->Execute(shape, source, weights, dense);
    for (int64_t row = 0; row < rows; ++row) {
      std::memcpy(outputs.row(row) + first, dense + row * columns,
                  columns * sizeof(float));
    }
  }

  void MultiplySlice(const WeightMatrix& w, ConstMatrixView inputs,
                     MatrixView outputs) {
    const void* source = inputs.data;
    if (FormOf(w) == WeightForm::kPanelsBf16) {
      auto* bits =
          rounded.Room<uint16_t>(GemmRowClass(inputs.rows) * w.k());
      RowsToBf16(inputs, bits);
      source = bits;
    }
    const int64_t panels = (w.n() + kPanelRows - 1) / kPanelRows;
    const auto multiply = [&](int thread, int64_t begin, int64_t end) {
      MultiplyColumns(w, source, inputs.rows, begin * kPanelRows,
                      std::min(end * kPanelRows, w.n()), lanes[thread].get(),
                      outputs);
    };
    if (panels == 1 || w.bytes() < kTeamBytes) {
      multiply(0, 0, panels);
      return;
    }
    RunTeam([&](int thread, int threads) {
      const int64_t begin = panels * thread / threads;
      const int64_t end = panels * (thread + 1) / threads;
      if (begin < end) multiply(thread, begin, end);
    });
  }
};

FloatProducts::FloatProducts() : impl_(std::make_unique<Impl>()) {}
FloatProducts::~FloatProducts() = default;

void FloatProducts::Multiply(const WeightMatrix& w, ConstMatrixView inputs,
                             MatrixView outputs) {
  while (static_cast<int>(impl_->lanes.size()) < ComputeThreads()) {
    impl_->lanes.push_back(std::make_unique<Lane>());
  }
  for (int64_t first = 0; first < inputs.rows; first += kMaxGemmRows) {
    const int64_t rows = std::min(kMaxGemmRows, inputs.rows - first);
    impl_->MultiplySlice(w, {inputs.row(first), rows, inputs.cols},
                         {outputs.row(first), rows, outputs.cols});
  }
}

size_t FloatProducts::bytes() const {
  size_t bytes = impl_->rounded.bytes();
  for (const auto& lane : impl_->lanes) {
    bytes += lane->scratchpad.bytes() + lane->columns.bytes();
  }
  return bytes;
}

}  // namespace lapidary::kernels
