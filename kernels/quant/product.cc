#include "kernels/quant/product.h"

#include <algorithm>
#include <atomic>

#include "kernels/half.h"
#include "kernels/parallel.h"
#include "kernels/quant/quant_layout.h"

namespace lapidary::kernels {
namespace {

// Panels that a thread multiplies by tile after tile before it goes on: they
// stay in its L2 cache, beside a tile.
constexpr int64_t kPanelGroupBytes = 256 << 10;

// Weight bytes times tiles from which waking a team costs less than it gains.
constexpr int64_t kTeamBytes = 32 << 10;

std::atomic<const ProductKernels*>& InUse() {
  static std::atomic<const ProductKernels*> kernels{
      UsableProductKernels().front()};
  return kernels;
}

void MultiplyBy(const ProductKernels& kernels, const QuantMatrix& w,
                const QuantRows& x, MatrixView out) {
  const TileKernel multiply =
      w.dtype == DType::kInt4 ? kernels.int4 : kernels.int8;
  const int64_t records = QuantRecords(w.k);
  const int64_t panel_bytes = records * QuantRecordBytes(w.dtype);
  const int64_t panels = QuantPanels(w.n);
  const int64_t group = std::max<int64_t>(1, kPanelGroupBytes / panel_bytes);
  const auto multiply_panel = [&](int64_t panel, const QuantRows::Tile& tile) {
    TileProduct product;
    product.panel = static_cast<const std::byte*>(w.data) + panel * panel_bytes;
    product.records = records;
    product.tile = tile.data;
    product.tile_rows = tile.rows;
    product.out = out.row(tile.first_row) + panel * kQuantPanelRows;
    product.out_stride = out.cols;
    product.columns = std::min(kQuantPanelRows, w.n - panel * kQuantPanelRows);
    multiply(product);
  };
  const bool worth_a_team = panels * panel_bytes * x.tiles() >= kTeamBytes;
  ParallelRanges(panels, worth_a_team, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += group) {
      const int64_t last = std::min(end, first + group);
      for (int64_t t = 0; t < x.tiles(); ++t) {
        const QuantRows::Tile tile = x.tile(t);
        for (int64_t panel = first; panel < last; ++panel) {
          multiply_panel(panel, tile);
        }
      }
    }
  });
}

}  // namespace

void QuantMatMul(const QuantMatrix& w, const QuantRows& x, MatrixView out) {
  MultiplyBy(ProductKernelsInUse(), w, x, out);
}

bool ProductSelfTest() {
  constexpr int64_t kRows = 5, kN = 20, kK = 70;
  std::vector<float> inputs(kRows * kK);
  for (int64_t i = 0; i < kRows * kK; ++i) {
    inputs[i] = static_cast<float>(i * 5 % 11 - 5);
  }
  QuantRows x;
  x.Quantize({inputs.data(), kRows, kK});
  const uint16_t scale = FloatToHalf(0.5f);
  for (const DType dtype : {DType::kInt8, DType::kInt4}) {
    std::vector<uint8_t> matrix(*QuantMatrixBytes(dtype, kN, kK));
    const size_t panel_bytes = *QuantPanelBytes(dtype, kK);
    for (int64_t row = 0; row < kN; ++row) {
      for (int64_t block = 0; block * kQuantBlock < kK; ++block) {
        int8_t codes[kQuantBlock];
        for (int64_t i = 0; i < kQuantBlock; ++i) {
          codes[i] = static_cast<int8_t>((row + block + i) * 7 % 16 - 8);
        }
        StoreQuantBlock(dtype,
                        matrix.data() + row / kQuantPanelRows * panel_bytes,
                        row % kQuantPanelRows, block, codes, scale);
      }
    }
    const QuantMatrix w{dtype, kN, kK, matrix.data()};
    std::vector<float> in_use(kRows * kN), portable(kRows * kN);
    MultiplyBy(ProductKernelsInUse(), w, x, {in_use.data(), kRows, kN});
    MultiplyBy(*PortableProductKernels(), w, x, {portable.data(), kRows, kN});
    if (in_use != portable) return false;
  }
  return true;
}

std::vector<const ProductKernels*> UsableProductKernels() {
  std::vector<const ProductKernels*> usable;
  for (const ProductKernels* kernels :
       {Avx512VnniProductKernels(), Avx2ProductKernels(),
        PortableProductKernels()}) {
    if (kernels != nullptr) usable.push_back(kernels);
  }
  return usable;
}

const ProductKernels& ProductKernelsInUse() { return *InUse(); }

void UseProductKernelsForTest(const ProductKernels* kernels) {
  InUse() = kernels;
}

}  // namespace lapidary::kernels
