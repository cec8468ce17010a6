#include "kernels/quant/product.h"

#include <algorithm>

#include "absl/container/inlined_vector.h"
#include "kernels/parallel.h"
#include "kernels/quant/panel_product.h"
#include "kernels/quant/quant_layout.h"

namespace lapidary::kernels {
namespace {

// What an idle thread reads ahead of a product: half of an L2 cache.
constexpr int64_t kExpectedBytes = 512 << 10;

// A matrix cut into chunks of whole panels.
struct Chunks {
  int64_t records, panel_bytes;
  int64_t panels, chunk_panels;

  Chunks(const ProductKernels& kernels, const QuantMatrix& w, int64_t rows)
      : records(QuantRecords(w.k)),
        panel_bytes(QuantPanelSize(w.dtype, records)),
        panels(QuantPanels(w.n)) {
    chunk_panels = PanelsTogether(kernels, w.dtype, records, rows);
  }

  int64_t chunks() const { return (panels + chunk_panels - 1) / chunk_panels; }
};

struct ChunkedProduct : Chunks {
  const QuantProduct* product;

  ChunkedProduct(const ProductKernels& kernels, const QuantProduct& p,
                 int64_t rows)
      : Chunks(kernels, p.weights, rows), product(&p) {}

  void MultiplyChunk(const ProductKernels& kernels, int64_t chunk,
                     const QuantRows& x) const {
    PanelRun run;
    run.dtype = product->weights.dtype;
    run.first = chunk * chunk_panels;
    run.data = static_cast<const std::byte*>(product->weights.data) +
               run.first * panel_bytes;
    run.count = std::min(chunk_panels, panels - run.first);
    run.records = records;
    run.n = product->weights.n;
    MultiplyPanels(kernels, run, x, product->outputs);
  }
};

void MultiplyBy(const ProductKernels& kernels, const QuantRows& x,
                absl::Span<const QuantProduct> products) {
  absl::InlinedVector<ChunkedProduct, 4> chunked;
  int64_t chunks = 0, bytes = 0;
  for (const QuantProduct& product : products) {
    const ChunkedProduct& c = chunked.emplace_back(kernels, product, x.rows());
    chunks += c.chunks();
    bytes += c.panels * c.panel_bytes * x.tiles();
  }
  const auto multiply = [&](int64_t chunk) {
    const ChunkedProduct* c = chunked.data();
    for (; chunk >= c->chunks(); ++c) chunk -= c->chunks();
    c->MultiplyChunk(kernels, chunk, x);
  };
  if (bytes >= kTeamBytes) {
    ParallelChunks(chunks, multiply);
  } else {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) multiply(chunk);
  }
}

}  // namespace

void QuantMatMulAll(const QuantRows& x,
                    absl::Span<const QuantProduct> products) {
  MultiplyBy(ProductKernelsInUse(), x, products);
}

void QuantMatMul(const QuantMatrix& w, const QuantRows& x, MatrixView out) {
  QuantMatMulAll(x, {{w, out}});
}

void ExpectQuantMatMulAll(absl::Span<const QuantMatrix> weights) {
  const ProductKernels& kernels = ProductKernelsInUse();
  int64_t chunks = 0;
  for (const QuantMatrix& w : weights) chunks += Chunks(kernels, w, 1).chunks();
  PrefetchWhileIdle([&](int thread) {
    int64_t chunk = FirstChunk(chunks, thread);
    for (const QuantMatrix& w : weights) {
      const Chunks c(kernels, w, 1);
      if (chunk >= c.chunks()) {
        chunk -= c.chunks();
        continue;
      }
      const int64_t first = chunk * c.chunk_panels * c.panel_bytes;
      const int64_t left = c.panels * c.panel_bytes - first;
      return MemoryPiece{static_cast<const std::byte*>(w.data) + first,
                         static_cast<size_t>(std::min(left, kExpectedBytes))};
    }
    return MemoryPiece{};
  });
}

bool ProductSelfTest() {
  constexpr int64_t kRows = 5, kN = 20, kK = 70;
  std::vector<float> inputs(kRows * kK);
  for (int64_t i = 0; i < kRows * kK; ++i) {
    inputs[i] = static_cast<float>(i * 5 % 11 - 5);
  }
  for (const DType dtype : {DType::kInt8, DType::kInt4}) {
    std::vector<uint8_t> matrix(*QuantMatrixBytes(dtype, kN, kK));
    const size_t panel_bytes = *QuantPanelBytes(dtype, kK);
    for (int64_t n = 0; n < kN; ++n) {
      QuantizedRow row(kK);
      row.scale = 0.5f;
      for (int64_t i = 0; i < kK; ++i) {
        row.codes[i] = static_cast<uint8_t>((n + i) * 7 % 16);
      }
      for (size_t block = 0; block < row.grids.size(); ++block) {
        const auto b = static_cast<int>(block);
        row.grids[block] = PackGrid({1 + 3 * b, 8 - b % 2});
      }
      StoreQuantRow(dtype, matrix.data() + n / kQuantPanelRows * panel_bytes,
                    n % kQuantPanelRows, row);
    }
    const QuantMatrix w{dtype, kN, kK, matrix.data()};
    const auto product = [&](const ProductKernels& kernels) {
      QuantRows x;
      x.Quantize({inputs.data(), kRows, kK}, kernels);
      std::vector<float> outputs(kRows * kN);
      MultiplyBy(kernels, x, {{w, {outputs.data(), kRows, kN}}});
      return outputs;
    };
    if (product(ProductKernelsInUse()) != product(*PortableProductKernels())) {
      return false;
    }
  }
  return true;
}

}  // namespace lapidary::kernels
