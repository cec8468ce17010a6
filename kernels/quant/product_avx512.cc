// AVX-512 with VNNI, whose vpdpbusd multiplies 64 unsigned weights by signed
// activations and adds them up in fours: one for each of a panel's 16 rows.

#include "kernels/quant/product_avx512.h"

#include <cstring>
#include <utility>

#include "kernels/quant/activation_tile.h"
#include "kernels/quant/decode_avx512.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/quant/quant_layout.h"

namespace lapidary::kernels {
namespace {

// How far ahead of the weights in use to ask for more. Half or twice as far is
// slower (Zen 4), and so is L1: int8, 16 rows, 1.2 ms against 0.73.
constexpr int64_t kPrefetchBytes = 8192;

// Whether to ask at all. With few rows there is little arithmetic, and a Zen's
// own prefetcher keeps more lines on their way than it does beside ours (one
// row: 44 GB/s against 35). A CPU with AMX, whose tiles are in rows, reads more
// with ours at any number (Emerald Rapids, one row: 19 GB/s without).
constexpr bool Prefetches(TileLayout layout, int rows) {
  return layout == TileLayout::kRows || rows >= 4;
}

// Dot products of one output that run side by side where rows are too few to
// hide the latency of vpdpbusd. Integers: their sum is the same in any order.
constexpr int Chains(int rows) { return rows == 1 ? 4 : rows <= 3 ? 2 : 1; }

template <typename T>
LAPIDARY_VNNI_INLINE T Read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

LAPIDARY_VNNI_INLINE __m512i Broadcast(const std::byte* at) {
  return _mm512_set1_epi32(Read<int32_t>(at));
}

// Where a block lies and how to decode it.
struct Block {
  const std::byte* codes;
  BlockGrids grids;
};

// Quads half and half + 4 of a block as bytes, [16 rows][4 k] each.
template <DType kType, bool kAhead>
LAPIDARY_VNNI_INLINE void LoadQuads(const Block& block, int half,
                                    __m512i* quads) {
  constexpr int kOther = kBlockQuads / 2;
  const __m512i line =
      LoadLine<kAhead>(block.codes + half * kQuantLineBytes, kPrefetchBytes);
  if constexpr (kType == DType::kInt8) {
    quads[half] = line;
    quads[half + kOther] = LoadLine<kAhead>(
        block.codes + (half + kOther) * kQuantLineBytes, kPrefetchBytes);
  } else {
    const TwoLines both = Decode(line, block.grids);
    quads[half] = both.low;
    quads[half + kOther] = both.high;
  }
}

// Adds a quad, the one so far into its record, to the dot products.
template <TileLayout kLayout, int kRows>
LAPIDARY_VNNI_INLINE void AddQuad(int quad, __m512i weights, const std::byte* x,
                                  __m512i* dots) {
  constexpr int kChains = Chains(kRows);
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
    __m512i& dot = dots[row * kChains + quad % kChains];
    dot = _mm512_dpbusd_epi32(
        dot, weights, Broadcast(x + QuadOffset(kLayout, kRows, row, quad)));
  }
}

// Adds a block to the dot products. In int4 the next block's weights take the
// place of its own one by one: decoded while there are others to multiply, they
// keep nothing waiting. In int8 there is nothing to decode, and loads come in
// time by themselves.
//   x      the tile's record
//   quads  [8]  int4: the block's weights, and then the next one's
//   dots   [rows][chains]
template <TileLayout kLayout, DType kType, int kRows, int kBlock>
LAPIDARY_VNNI_INLINE void AddBlock(const std::byte* x, const Block& block,
                                   const Block& next, __m512i* quads,
                                   __m512i* dots) {
  constexpr int kFirst = kBlock * kBlockQuads;
#pragma GCC unroll 4
  for (int half = 0; half < kBlockQuads / 2; ++half) {
    constexpr int kOther = kBlockQuads / 2;
    if constexpr (kType == DType::kInt8) {
      LoadQuads<kType, Prefetches(kLayout, kRows)>(block, half, quads);
    }
    AddQuad<kLayout, kRows>(kFirst + half, quads[half], x, dots);
    AddQuad<kLayout, kRows>(kFirst + half + kOther, quads[half + kOther], x,
                            dots);
    if constexpr (kType == DType::kInt4) {
      LoadQuads<kType, Prefetches(kLayout, kRows)>(next, half, quads);
    }
  }
}

// A record's block.
template <DType kType, int kBlock>
LAPIDARY_VNNI_INLINE Block BlockOf(const std::byte* record,
                                   const Grids& grids) {
  Block block;
  block.codes = record + kBlock * QuantCodeBytes(kType) / kQuantRecordBlocks;
  if constexpr (kType == DType::kInt4) block.grids = Spread<kBlock>(grids);
  return block;
}

template <DType kType, bool kAhead>
LAPIDARY_VNNI_INLINE Grids GridsOf(const std::byte* record) {
  Grids grids;
  if constexpr (kType == DType::kInt4) {
    grids = GridsFrom<WeightByte::kUnsigned>(
        LoadLine<kAhead>(record + QuantCodeBytes(kType), kPrefetchBytes));
  }
  return grids;
}

// Adds a record to the rows' sums.
//   next   the record that follows
//   grids  the record's, and then the next one's
//   quads  int4: the weights of the record's first block, and then of the
//          next's
template <TileLayout kLayout, DType kType, int kRows>
LAPIDARY_VNNI_INLINE void AddRecord(const std::byte* record,
                                    const std::byte* next, const std::byte* x,
                                    Grids* grids, __m512i* quads,
                                    __m512* sums) {
  constexpr int kChains = Chains(kRows);
  __m512i dots[kRows * kChains];
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
    dots[row * kChains] = Broadcast(x + StartOffset(kRows, row));
#pragma GCC unroll 4
    for (int chain = 1; chain < kChains; ++chain) {
      dots[row * kChains + chain] = _mm512_setzero_si512();
    }
  }
  const Block b0 = BlockOf<kType, 0>(record, *grids);
  const Block b1 = BlockOf<kType, 1>(record, *grids);
  AddBlock<kLayout, kType, kRows, 0>(x, b0, b1, quads, dots);
  const Block b2 = BlockOf<kType, 2>(record, *grids);
  AddBlock<kLayout, kType, kRows, 1>(x, b1, b2, quads, dots);
  const Block b3 = BlockOf<kType, 3>(record, *grids);
  AddBlock<kLayout, kType, kRows, 2>(x, b2, b3, quads, dots);
  *grids = GridsOf<kType, Prefetches(kLayout, kRows)>(next);
  AddBlock<kLayout, kType, kRows, 3>(x, b3, BlockOf<kType, 0>(next, *grids),
                                     quads, dots);
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
    __m512i dot = dots[row * kChains];
#pragma GCC unroll 4
    for (int chain = 1; chain < kChains; ++chain) {
      dot = _mm512_add_epi32(dot, dots[row * kChains + chain]);
    }
    sums[row] = _mm512_fmadd_ps(
        _mm512_cvtepi32_ps(dot),
        _mm512_set1_ps(Read<float>(x + ScaleOffset(kRows, row))), sums[row]);
  }
}

template <TileLayout kLayout, DType kType, int kRows>
LAPIDARY_VNNI_INLINE void MultiplyPanel(const TileProduct& p,
                                        const PanelProduct& by) {
  constexpr int64_t kRecordBytes = QuantRecordBytes(kType);
  __m512 sums[kRows];
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) sums[row] = _mm512_setzero_ps();
  Grids grids = GridsOf<kType, Prefetches(kLayout, kRows)>(by.panel);
  __m512i quads[kBlockQuads];
  if constexpr (kType == DType::kInt4) {
#pragma GCC unroll 4
    for (int half = 0; half < kBlockQuads / 2; ++half) {
      LoadQuads<kType, Prefetches(kLayout, kRows)>(
          BlockOf<kType, 0>(by.panel, grids), half, quads);
    }
  }
  const std::byte* record = by.panel;
  const std::byte* x = p.tile;
  for (int64_t r = 0; r < p.records; ++r) {
    // After the last, anything that can be read.
    const std::byte* next = r + 1 < p.records ? record + kRecordBytes : record;
    AddRecord<kLayout, kType, kRows>(record, next, x, &grids, quads, sums);
    record += kRecordBytes;
    x += kRows * kTileRecordRowBytes;
  }
  // The records' end is where the scales are.
  const __m512 scales = _mm512_loadu_ps(record);
  const auto columns = static_cast<__mmask16>((1u << by.columns) - 1);
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
    _mm512_mask_storeu_ps(by.out + row * p.out_stride, columns,
                          _mm512_mul_ps(sums[row], scales));
  }
}

template <TileLayout kLayout, DType kType, int kRows>
LAPIDARY_VNNI void MultiplyTile(const TileProduct& p) {
  const int64_t panel_bytes = QuantPanelSize(kType, p.records);
  for (int64_t i = 0; i < p.panel_count; ++i) {
    MultiplyPanel<kLayout, kType, kRows>(p, PanelOf(p, i, panel_bytes));
  }
}

// One function for each number of rows.
template <TileLayout kLayout, DType kType, int... kIndices>
void Dispatch(const TileProduct& p, std::integer_sequence<int, kIndices...>) {
  static constexpr TileKernel kByRows[] = {
      MultiplyTile<kLayout, kType, kIndices + 1>...};
  kByRows[p.tile_rows - 1](p);
}

template <TileLayout kLayout, DType kType>
void Multiply(const TileProduct& p) {
  Dispatch<kLayout, kType>(p, std::make_integer_sequence<int, kMaxTileRows>());
}

LAPIDARY_VNNI void DecodePanel(const std::byte* panel, int64_t records,
                               std::byte* out) {
  for (int64_t r = 0; r < records; ++r) {
    DecodeRecord<WeightByte::kUnsigned, true>(
        panel + r * QuantRecordBytes(DType::kInt4), kPrefetchBytes,
        out + r * QuantRecordBytes(DType::kInt8));
  }
  std::memcpy(out + QuantScaleOffset(DType::kInt8, records),
              panel + QuantScaleOffset(DType::kInt4, records),
              kQuantPanelScaleBytes);
}

template <TileLayout kLayout>
constexpr ProductKernels kKernels = {
    "AVX-512 VNNI", kLayout, Multiply<kLayout, DType::kInt8>,
    Multiply<kLayout, DType::kInt4>, DecodePanel};

bool Usable() {
  return __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}

}  // namespace

const ProductKernels* Avx512VnniProductKernels() {
  return Usable() ? &kKernels<TileLayout::kQuads> : nullptr;
}

const ProductKernels* Avx512VnniRowKernels() {
  return Usable() ? &kKernels<TileLayout::kRows> : nullptr;
}

}  // namespace lapidary::kernels
