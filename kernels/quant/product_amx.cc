// The integer product by AMX (amx_unit.h): tiles one by one. Many at a time:
// product_amx_tiles.cc.
#include "kernels/quant/product_amx.h"

#include <algorithm>
#include <utility>

#include "kernels/amx.h"
#include "kernels/quant/activation_tile.h"
#include "kernels/quant/amx_unit.h"
#include "kernels/quant/product_avx512.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/quant/quant_layout.h"

namespace lapidary::kernels {
namespace amx {
namespace {

// From so many rows on. With fewer the unit waits for weights, as VNNI does,
// which decodes int4 without a way through memory.
constexpr int kUnitRows = 4;

// One tile, whose weights are used once.
template <DType kType, int kRows>
LAPIDARY_AMX void MultiplyTile(const TileProduct& p) {
  LoadConfig(kRows);
  alignas(64) std::byte room[2 * kDecodedBytes];
  for (int64_t first = 0; first < p.panel_count; first += kPanels) {
    const FourPanels four(p.panels + first * QuantPanelSize(kType, p.records),
                          p.panel_count - first, p.records, kType);
    alignas(64) float sums[kPanels * Steps<kRows>::kSums] = {};
    if constexpr (kType == DType::kInt4) {
      const DecodedWeights weights{four, p.records, room};
      AddRecords<kRows>(weights, p.tile, p.records, sums);
    } else {
      StoredWeights<WeightByte::kUnsigned> weights;
      std::copy(four.panel, four.panel + kPanels, weights.panel);
      weights.ahead = p.ahead;
      AddRecords<kRows>(weights, p.tile, p.records, sums);
    }
    const int64_t column = first * kQuantPanelRows;
    WriteSums(sums, kRows, four, QuantScaleOffset(kType, p.records),
              p.columns - column, p.out + column, p.out_stride);
  }
  _tile_release();
}

// One function for each number of rows.
template <DType kType, int... kIndices>
void Dispatch(const TileProduct& p, std::integer_sequence<int, kIndices...>) {
  static constexpr TileKernel kByRows[] = {
      MultiplyTile<kType, kUnitRows + kIndices>...};
  kByRows[p.tile_rows - kUnitRows](p);
}

template <DType kType>
void Multiply(const TileProduct& p) {
  if (p.tile_rows < kUnitRows) {
    const ProductKernels& few = *Avx512VnniRowKernels();
    (kType == DType::kInt4 ? few.int4 : few.int8)(p);
    return;
  }
  Dispatch<kType>(
      p, std::make_integer_sequence<int, kMaxTileRows - kUnitRows + 1>());
}

}  // namespace
}  // namespace amx

const ProductKernels* AmxProductKernels() {
  static const ProductKernels* const kernels = []() -> const ProductKernels* {
    const ProductKernels* rows = Avx512VnniRowKernels();
    if (rows == nullptr || !__builtin_cpu_supports("amx-int8") ||
        !AmxTilesUsable()) {
      return nullptr;
    }
    static const ProductKernels amx = {"AMX int8",
                                       TileLayout::kRows,
                                       amx::Multiply<DType::kInt8>,
                                       amx::Multiply<DType::kInt4>,
                                       nullptr,
                                       amx::MultiplyTiles,
                                       amx::kPanels,
                                       amx::kUnitRows};
    return &amx;
  }();
  return kernels;
}

}  // namespace lapidary::kernels
