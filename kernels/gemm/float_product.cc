#include "kernels/gemm/float_product.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/gemm/matmul_primitives.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/parallel.h"
#include "kernels/scratch.h"
#include "kernels/simd/row_ops.h"

namespace lapidary::kernels {
namespace {

// Bytes of weights from which waking the team costs less than it gains.
constexpr size_t kTeamBytes = 64 << 10;

}  // namespace

struct FloatProducts::Lane {
  MatMulPrimitives primitives;
  Scratch columns;  // its part of the outputs
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
    const MatMulShape shape{GemmRowClass(rows), columns, w.k(),
                            form == WeightForm::kPlainF32 ? w.n() : 0, form};
    const auto* weights =
        form == WeightForm::kPlainF32
            ? reinterpret_cast<const std::byte*>(w.plain() + first)
            : static_cast<const std::byte*>(w.data()) +
                  first / kPanelRows * PanelBytes(w.dtype(), w.k());
    if (columns == w.n()) {
      lane->primitives.Execute(shape, source, weights, outputs.data);
      return;
    }
    auto* dense = lane->columns.Room<float>(shape.rows * columns);
    lane->primitives.Execute(shape, source, weights, dense);
    for (int64_t row = 0; row < rows; ++row) {
      std::memcpy(outputs.row(row) + first, dense + row * columns,
                  columns * sizeof(float));
    }
  }

  void MultiplySlice(const WeightMatrix& w, ConstMatrixView inputs,
                     MatrixView outputs) {
    const void* source = inputs.data;
    if (FormOf(w) == WeightForm::kPanelsBf16) {
      auto* bits = rounded.Room<uint16_t>(GemmRowClass(inputs.rows) * w.k());
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
    bytes += lane->primitives.bytes() + lane->columns.bytes();
  }
  return bytes;
}

}  // namespace lapidary::kernels
