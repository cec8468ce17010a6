// AVX-512 with VNNI, whose vpdpbusd multiplies 64 unsigned weights by signed
// activations and adds them up in fours: one for each of a panel's 16 rows.

// GCC 12 takes the "undefined" vectors of its own intrinsics for ours (GCC
// bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include "kernels/quant/product_avx512.h"

#include <immintrin.h>

#include <cstring>
#include <utility>

#include "kernels/quant/activation_tile.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/quant/quant_layout.h"

// Functions are compiled for these instructions one by one, never the file:
// what it shares with others through headers must run on every CPU.
#define LAPIDARY_VNNI \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define LAPIDARY_VNNI_INLINE LAPIDARY_VNNI __attribute__((always_inline)) inline

namespace lapidary::kernels {
namespace {

constexpr int kQuads = kQuantBlock / 4;

// Bytes of a row's quad, and of a panel's.
constexpr int64_t kQuadBytes = 4;
constexpr int64_t kLineBytes = kQuantPanelRows * kQuadBytes;

// How far ahead of the weights in use to ask for more, and into L2: L1 has no
// room beside the tile. Half or twice as far is slower (Zen 4), and so is L1:
// int8, 16 rows, 1.2 ms against 0.73.
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

// A cache line of the panel; if kAhead, asks for one that comes later.
template <bool kAhead>
LAPIDARY_VNNI_INLINE __m512i LoadLine(const std::byte* at) {
  if constexpr (kAhead) {
    _mm_prefetch(at + kPrefetchBytes, _MM_HINT_T1);
  }
  return _mm512_loadu_si512(at);
}

// The grids of an int4 record, [4 blocks][16 rows]: what maps a code to the
// integer it stands for, plus 128.
struct Grids {
  __m512i multipliers, offsets;
};

template <bool kAhead>
LAPIDARY_VNNI_INLINE Grids LoadGrids(const std::byte* at) {
  const __m512i bytes = LoadLine<kAhead>(at);
  const __m512i multipliers = _mm512_and_si512(bytes, _mm512_set1_epi8(0xF));
  // 128 - 8 · multiplier, or 128 - 7 · multiplier. 8 · 15 stays in its byte.
  const __m512i eight = _mm512_slli_epi16(multipliers, 3);
  const __m512i back =
      _mm512_maskz_mov_epi8(_mm512_movepi8_mask(bytes), multipliers);
  const __m512i offsets = _mm512_add_epi8(
      _mm512_sub_epi8(_mm512_set1_epi8(static_cast<char>(128)), eight), back);
  return {multipliers, offsets};
}

// One block's grids, spread to where its codes are.
struct BlockGrids {
  __m512i multipliers;  // 16 bits: of two codes
  __m512i offsets;      // 8 bits
};

template <int kBlock>
LAPIDARY_VNNI_INLINE BlockGrids Spread(const Grids& grids) {
  // From a byte for each row to 16-bit numbers, twice, and to bytes, four
  // times. -1 is a zero.
  const __m512i to_words = _mm512_set_epi8(
      -1, 15, -1, 15, -1, 14, -1, 14, -1, 13, -1, 13, -1, 12, -1, 12,  //
      -1, 11, -1, 11, -1, 10, -1, 10, -1, 9, -1, 9, -1, 8, -1, 8,      //
      -1, 7, -1, 7, -1, 6, -1, 6, -1, 5, -1, 5, -1, 4, -1, 4,          //
      -1, 3, -1, 3, -1, 2, -1, 2, -1, 1, -1, 1, -1, 0, -1, 0);
  const __m512i to_bytes = _mm512_set_epi8(
      15, 15, 15, 15, 14, 14, 14, 14, 13, 13, 13, 13, 12, 12, 12, 12,  //
      11, 11, 11, 11, 10, 10, 10, 10, 9, 9, 9, 9, 8, 8, 8, 8,          //
      7, 7, 7, 7, 6, 6, 6, 6, 5, 5, 5, 5, 4, 4, 4, 4,                  //
      3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
  constexpr int kLane = kBlock * 0x55;  // this 128-bit lane to all four
  return {
      _mm512_shuffle_epi8(
          _mm512_shuffle_i32x4(grids.multipliers, grids.multipliers, kLane),
          to_words),
      _mm512_shuffle_epi8(
          _mm512_shuffle_i32x4(grids.offsets, grids.offsets, kLane), to_bytes)};
}

// The integers that 64 int4 codes stand for, plus 128.
LAPIDARY_VNNI_INLINE __m512i Decode(__m512i codes, const BlockGrids& grids) {
  // Two products in a 16-bit lane: neither exceeds its byte, 15 · 15.
  return _mm512_add_epi8(_mm512_mullo_epi16(codes, grids.multipliers),
                         grids.offsets);
}

// Where a block lies and how to decode it.
struct Block {
  const std::byte* codes;
  BlockGrids grids;
};

// Quads kHalf and kHalf + 4 of a block as bytes, [16 rows][4 k] each.
template <DType kType, bool kAhead>
LAPIDARY_VNNI_INLINE void LoadQuads(const Block& block, int half,
                                    __m512i* quads) {
  if constexpr (kType == DType::kInt8) {
    quads[half] = LoadLine<kAhead>(block.codes + half * kLineBytes);
    quads[half + kQuads / 2] =
        LoadLine<kAhead>(block.codes + (half + kQuads / 2) * kLineBytes);
  } else {
    const __m512i low = _mm512_set1_epi8(0xF);
    const __m512i both = LoadLine<kAhead>(block.codes + half * kLineBytes);
    quads[half] = Decode(_mm512_and_si512(both, low), block.grids);
    quads[half + kQuads / 2] =
        Decode(_mm512_and_si512(_mm512_srli_epi16(both, 4), low), block.grids);
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
  constexpr int kFirst = kBlock * kQuads;
#pragma GCC unroll 4
  for (int half = 0; half < kQuads / 2; ++half) {
    constexpr int kOther = kQuads / 2;
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
    grids = LoadGrids<kAhead>(record + QuantCodeBytes(kType));
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
  __m512i quads[kQuads];
  if constexpr (kType == DType::kInt4) {
#pragma GCC unroll 4
    for (int half = 0; half < kQuads / 2; ++half) {
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

template <int kBlock>
LAPIDARY_VNNI_INLINE void DecodeBlock(const std::byte* record,
                                      const Grids& grids, std::byte* out) {
  const Block block = BlockOf<DType::kInt4, kBlock>(record, grids);
  __m512i quads[kQuads];
#pragma GCC unroll 4
  for (int half = 0; half < kQuads / 2; ++half) {
    LoadQuads<DType::kInt4, true>(block, half, quads);
  }
  out += kBlock * QuantCodeBytes(DType::kInt8) / kQuantRecordBlocks;
#pragma GCC unroll 8
  for (int quad = 0; quad < kQuads; ++quad) {
    _mm512_storeu_si512(out + quad * kLineBytes, quads[quad]);
  }
}

LAPIDARY_VNNI void DecodeRecords(const std::byte* records, int64_t count,
                                 std::byte* out) {
  for (int64_t r = 0; r < count; ++r) {
    const Grids grids = GridsOf<DType::kInt4, true>(records);
    DecodeBlock<0>(records, grids, out);
    DecodeBlock<1>(records, grids, out);
    DecodeBlock<2>(records, grids, out);
    DecodeBlock<3>(records, grids, out);
    records += QuantRecordBytes(DType::kInt4);
    out += QuantRecordBytes(DType::kInt8);
  }
}

void DecodePanel(const std::byte* panel, int64_t records, std::byte* out) {
  DecodeRecords(panel, records, out);
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

void DecodeRecordsAvx512(const std::byte* records, int64_t count,
                         std::byte* out) {
  DecodeRecords(records, count, out);
}

}  // namespace lapidary::kernels
