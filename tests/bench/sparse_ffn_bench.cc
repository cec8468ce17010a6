// The up and down projections of E2B's sparse layers, where 5 % of the gate is
// left: dense, as panels, against sparse, by neuron.
//
//   bazel run //tests/bench:sparse_ffn_bench -- [--benchmark_filter=…]
//
// The arguments are the dtype (4 or 8 bits) and the rows of the batch, whose
// active neurons are independent of one another. Weights are read from memory
// every time: copies of the layer take turns.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "benchmark/benchmark.h"
#include "kernels/quant/activations.h"
#include "kernels/quant/active_neurons.h"
#include "kernels/quant/neuron_layout.h"
#include "kernels/quant/neuron_product.h"
#include "kernels/quant/neuron_sum.h"
#include "kernels/quant/product.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kHidden = 2048;
constexpr int64_t kInner = 8192;
constexpr int64_t kCopies = 12;  // of up and down: 226 MB of int4

DType DTypeOf(const benchmark::State& state) {
  return state.range(0) == 4 ? DType::kInt4 : DType::kInt8;
}

std::shared_ptr<AlignedBuffer> Filled(size_t bytes) {
  auto buffer = AlignedBuffer::Make(bytes);
  // As a scale 1.1e-28, as a grid a multiplier of 1.
  std::fill(buffer->data(), buffer->data() + bytes, std::byte{0x11});
  return buffer;
}

// Inputs, a gate after the cutoff, and copies of a matrix.
struct Bench {
  int64_t rows;
  std::vector<float> x, gate, up, out;
  QuantRows quantized;
  std::shared_ptr<AlignedBuffer> weights;
  size_t matrix_bytes;
  int64_t next = 0;

  Bench(const benchmark::State& state, size_t bytes)
      : rows(state.range(1)),
        x(rows * kHidden, 0.5f),
        gate(rows * kInner),
        up(rows * kInner, 1.0f),
        out(rows * kHidden),
        weights(Filled(2 * kCopies * bytes)),
        matrix_bytes(bytes) {
    uint64_t random = 1;
    for (float& value : gate) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      value = (random >> 33) % 20 == 0 ? 1.0f : 0.0f;
    }
    quantized.Quantize({x.data(), rows, kHidden});
  }

  const std::byte* NextMatrix() {
    return weights->data() + next++ % (2 * kCopies) * matrix_bytes;
  }
  ConstMatrixView Gate() const { return {gate.data(), rows, kInner}; }
  MatrixView Out() { return {out.data(), rows, kHidden}; }
};

struct Sparse : Bench {
  NeuronMatrix matrix;
  ActiveNeurons active;

  explicit Sparse(const benchmark::State& state)
      : Bench(state, *NeuronMatrixBytes(DTypeOf(state), kInner, kHidden)),
        matrix{DTypeOf(state), kInner, kHidden, nullptr} {
    active.Find(Gate());
  }

  void Up() {
    matrix.data = NextMatrix();
    NeuronMatMul(
        matrix, active.neurons(), quantized,
        {up.data(), rows, static_cast<int64_t>(active.neurons().size())});
  }
  void Down() {
    matrix.data = NextMatrix();
    SumNeurons(matrix, active, Out());
  }
};

struct Dense : Bench {
  DType dtype;
  QuantRows activated;

  explicit Dense(const benchmark::State& state)
      : Bench(state, *QuantMatrixBytes(DTypeOf(state), kInner, kHidden)),
        dtype(DTypeOf(state)) {}

  void Up() {
    QuantMatMul({dtype, kInner, kHidden, NextMatrix()}, quantized,
                {up.data(), rows, kInner});
  }
  void Down() {
    activated.Quantize(Gate());
    QuantMatMul({dtype, kHidden, kInner, NextMatrix()}, activated, Out());
  }
};

template <class Path>
void Up(benchmark::State& state) {
  Path path(state);
  for (auto _ : state) path.Up();
}

template <class Path>
void Down(benchmark::State& state) {
  Path path(state);
  for (auto _ : state) path.Down();
}

void FindAndActivate(benchmark::State& state) {
  Sparse path(state);
  for (auto _ : state) {
    path.active.Find(path.Gate());
    path.active.Activate({path.up.data(), path.rows,
                          static_cast<int64_t>(path.active.neurons().size())});
  }
}

void Arguments(benchmark::internal::Benchmark* bench) {
  for (int64_t bits : {4, 8}) {
    for (int64_t rows : {1, 4, 16, 512}) bench->Args({bits, rows});
  }
  bench->ArgNames({"int", "rows"})
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime()
      ->MinTime(0.2);
}

BENCHMARK_TEMPLATE(Up, Dense)->Apply(Arguments);
BENCHMARK_TEMPLATE(Up, Sparse)->Apply(Arguments);
BENCHMARK_TEMPLATE(Down, Dense)->Apply(Arguments);
BENCHMARK_TEMPLATE(Down, Sparse)->Apply(Arguments);
BENCHMARK(FindAndActivate)->Apply(Arguments);

}  // namespace
}  // namespace lapidary::kernels

BENCHMARK_MAIN();
