// How near the matrix products come to what this machine allows:
//
//   bazel run //tests/bench:kernels_bench -- [ROUNDS]
//
// A small batch reads every weight once, so its limit is the memory's
// bandwidth: a plain read by all threads of weights that no cache holds, in
// turns with the products. A large batch's limit is the arithmetic, for which
// the best product of the same run stands. Medians of ROUNDS (default 20).

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels/gemm/weight_layout.h"
#include "kernels/gemm/weight_matrix.h"
#include "kernels/parallel.h"
#include "kernels/quant/product.h"
#include "kernels/simd/row_ops.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {
namespace {

// The up projection of E2B's feed-forward network.
constexpr int64_t kN = 8192;
constexpr int64_t kK = 2048;
constexpr int64_t kBatches[] = {1, 2, 4, 8, 16, 64, 512};
// Up to so many rows the bytes are the limit.
constexpr int64_t kMostRowsByBytes = 16;
// Of weights, read in turn: more than the caches hold.
constexpr size_t kTotalBytes = size_t{1} << 30;

template <typename Call>
double Seconds(const Call& call) {
  const auto start = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Weights enough to be read from memory every time, as panels of one matrix
// after another.
struct Weights {
  std::shared_ptr<AlignedBuffer> panels;
  std::vector<WeightMatrix> matrices;

  explicit Weights(DType dtype) {
    const size_t bytes = *WeightMatrixBytes(dtype, kN, kK);
    panels = AlignedBuffer::Make(kTotalBytes / bytes * bytes);
    if (panels == nullptr) Fail();
    const int64_t panel_rows = WeightPanelRows(dtype);
    std::vector<float> rows(panel_rows * kK);
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = i % 17 * 0.125f - 1;
    const size_t panel = *WeightPanelBytes(dtype, kK);
    PackWeightPanel(DType::kF32, rows.data(), panel_rows, kK, dtype,
                    panels->data());
    for (size_t at = panel; at < panels->size(); at += panel) {
      std::memcpy(panels->data() + at, panels->data(), panel);
    }
    for (size_t at = 0; at < panels->size(); at += bytes) {
      auto w = WeightMatrix::Wrap(dtype, kN, kK, panels->data() + at);
      if (!w.ok()) Fail();
      matrices.push_back(*std::move(w));
    }
  }

  [[noreturn]] static void Fail() {
    std::fprintf(stderr, "no memory for the weights\n");
    std::exit(1);
  }

  // What MatMul reads of matrix `i`.
  const uint64_t* Read(size_t i) const {
    const WeightMatrix& w = matrices[i];
    return static_cast<const uint64_t*>(
        w.plain() != nullptr ? static_cast<const void*>(w.plain()) : w.data());
  }
};

// Reads `bytes` by all threads; the sum keeps the compiler from leaving it out.
uint64_t ReadAll(const uint64_t* data, size_t bytes) {
  const auto words = static_cast<int64_t>(bytes / sizeof(uint64_t));
  std::atomic<uint64_t> sum{0};
  ParallelRanges(words, true, [&](int64_t first, int64_t last) {
    uint64_t part = 0;
    for (int64_t i = first; i < last; ++i) part += data[i];
    sum += part;
  });
  return sum;
}

struct Measured {
  int64_t rows;
  double seconds, read_seconds;

  double gops() const { return 2e-9 * rows * kN * kK / seconds; }
};

Measured Measure(const Weights& weights, int64_t rows, int rounds) {
  GemmContext context;
  std::vector<float> x(GemmCapacity(rows) * kK, 0.5f);
  std::vector<float> y(GemmCapacity(rows) * kN);
  std::vector<double> products, reads;
  volatile uint64_t sink = 0;
  const size_t count = weights.matrices.size();
  // The first round makes the primitive.
  for (int round = 0; round <= rounds; ++round) {
    const size_t i = 2 * round % count;
    const WeightMatrix& w = weights.matrices[i];
    const double product = Seconds([&] {
      MatMul(w, {x.data(), rows, kK}, {y.data(), rows, kN}, &context);
    });
    const double read = Seconds(
        [&] { sink = ReadAll(weights.Read((i + 1) % count), w.bytes()); });
    if (round == 0) continue;
    products.push_back(product);
    reads.push_back(read);
  }
  return {rows, Median(products), Median(reads)};
}

void Report(DType dtype, int rounds) {
  const Weights weights(dtype);
  const size_t bytes = weights.matrices[0].bytes();
  std::vector<Measured> all;
  double best = 0;
  for (int64_t rows : kBatches) {
    all.push_back(Measure(weights, rows, rounds));
    best = std::max(best, all.back().gops());
  }
  for (const Measured& m : all) {
    std::printf("%-4s M %3d: %8.2f ms, %7.1f G op/s, %5.1f GB/s; ",
                NameOf(dtype), static_cast<int>(m.rows), 1e3 * m.seconds,
                m.gops(), 1e-9 * bytes / m.seconds);
    if (m.rows <= kMostRowsByBytes) {
      std::printf("%3.0f %% of a plain read's %.1f GB/s\n",
                  100 * m.read_seconds / m.seconds,
                  1e-9 * bytes / m.read_seconds);
    } else {
      std::printf("%3.0f %% of the best product\n", 100 * m.gops() / best);
    }
  }
}

}  // namespace
}  // namespace lapidary::kernels

int main(int argc, char** argv) {
  using lapidary::kernels::DType;
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 20;
  lapidary::kernels::PinComputeThreads();
  std::printf(
      "N 8192, K 2048, %d threads, %s, int8 and int4 by %s, %d rounds\n",
      lapidary::kernels::ComputeThreads(), lapidary::kernels::VectorTarget(),
      lapidary::kernels::ProductKernelsInUse().name, rounds);
  lapidary::kernels::Report(DType::kInt4, rounds);
  lapidary::kernels::Report(DType::kInt8, rounds);
  lapidary::kernels::Report(DType::kBf16, rounds);
  lapidary::kernels::Report(DType::kF32, rounds);
  return 0;
}
