// AMX, whose tdpbsud multiplies 16 activation rows of 64 k by the same 64 k of
// a panel's 16 rows: eight times what VNNI does in a cycle. A panel lies as the
// unit wants its second operand; activations lie in rows for it.
//
// The unit adds up the integers of a record. Vectors then scale them, while the
// unit is at the next record.

// See product_avx512.cc.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include <cstring>
#include <utility>

#include "kernels/amx.h"
#include "kernels/quant/activation_tile.h"
#include "kernels/quant/product_avx512.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/quant/quant_layout.h"

// See product_avx512.cc.
#define LAPIDARY_AMX \
  __attribute__((    \
      target("amx-tile,amx-int8,avx512f,avx512bw,avx512vl,avx512vnni")))
#define LAPIDARY_AMX_INLINE LAPIDARY_AMX __attribute__((always_inline)) inline

namespace lapidary::kernels {
namespace {

// From so many rows on. With fewer the unit waits for weights, as VNNI does,
// which decodes int4 without a way through memory.
constexpr int kUnitRows = 4;

// Columns of a tile register: k of a step, and bytes of a register's row.
constexpr int64_t kStep = 64;
constexpr int64_t kSteps = kQuantRecordDepth / kStep;
constexpr int64_t kStepBytes = kStep * kQuantPanelRows;

// How far ahead of int8 weights that are in no cache yet to ask for more: 16
// rows then read a quarter more (Emerald Rapids). Where int4 is decoded in
// between it changes nothing.
constexpr int64_t kPrefetchBytes = 8192;

// What the tile registers are for: macros take only literals.
#define LAPIDARY_DOTS 0
#define LAPIDARY_ACTIVATIONS 1
#define LAPIDARY_WEIGHTS 2

AmxTileConfig ConfigFor(int tile_rows) {
  AmxTileConfig config;
  config.Set(LAPIDARY_DOTS, tile_rows, kStep);
  config.Set(LAPIDARY_ACTIVATIONS, tile_rows, kStep);
  config.Set(LAPIDARY_WEIGHTS, kStep / 4, kStep);
  return config;
}

template <typename T>
LAPIDARY_AMX_INLINE T Read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// A record's weights as bytes, int8's own or int4's decoded into `room`.
template <DType kType>
LAPIDARY_AMX_INLINE const std::byte* Weights(const std::byte* record,
                                             std::byte* room) {
  if constexpr (kType == DType::kInt8) return record;
  DecodeRecordsAvx512(record, 1, room);
  return room;
}

// dots [rows][16] = activations [rows][128] · weights [128][16]
//   x  the tile's record
LAPIDARY_AMX_INLINE void MultiplyRecord(const std::byte* weights,
                                        const std::byte* x, int32_t* dots) {
  _tile_zero(LAPIDARY_DOTS);
#pragma GCC unroll 2
  for (int64_t step = 0; step < kSteps; ++step) {
    _tile_loadd(LAPIDARY_ACTIVATIONS, x + step * kStep, kQuantRecordDepth);
    _tile_loadd(LAPIDARY_WEIGHTS, weights + step * kStepBytes, kStep);
    _tile_dpbsud(LAPIDARY_DOTS, LAPIDARY_ACTIVATIONS, LAPIDARY_WEIGHTS);
  }
  _tile_stored(LAPIDARY_DOTS, dots, kStep);
}

LAPIDARY_AMX_INLINE void PrefetchInt8(const std::byte* record) {
  for (int64_t at = 0; at < QuantRecordBytes(DType::kInt8); at += 64) {
    _mm_prefetch(record + kPrefetchBytes + at, _MM_HINT_T1);
  }
}

// Adds a record's dot products to the rows' sums.
template <int kRows>
LAPIDARY_AMX_INLINE void AddDots(const int32_t* dots, const std::byte* x,
                                 __m512* sums) {
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
    const __m512i dot = _mm512_add_epi32(
        _mm512_load_si512(dots + row * kQuantPanelRows),
        _mm512_set1_epi32(Read<int32_t>(x + StartOffset(kRows, row))));
    sums[row] = _mm512_fmadd_ps(
        _mm512_cvtepi32_ps(dot),
        _mm512_set1_ps(Read<float>(x + ScaleOffset(kRows, row))), sums[row]);
  }
}

template <DType kType, int kRows>
LAPIDARY_AMX_INLINE void MultiplyPanel(const TileProduct& p,
                                       const PanelProduct& by) {
  constexpr int64_t kXBytes = kRows * kTileRecordRowBytes;
  alignas(64) int32_t dots[2][kRows * kQuantPanelRows];
  alignas(64) std::byte room[2][QuantRecordBytes(DType::kInt8)];
  __m512 sums[kRows];
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) sums[row] = _mm512_setzero_ps();
  const std::byte* record = by.panel;
  const std::byte* x = p.tile;
  // One record is decoded, another multiplied and a third added at a time: what
  // has just been stored is slow to load into a tile.
  const std::byte* weights = Weights<kType>(record, room[0]);
  for (int64_t r = 0; r < p.records; ++r, x += kXBytes) {
    record += QuantRecordBytes(kType);
    const std::byte* next =
        r + 1 < p.records ? Weights<kType>(record, room[(r + 1) % 2]) : nullptr;
    if (kType == DType::kInt8 && p.ahead) PrefetchInt8(record);
    MultiplyRecord(weights, x, dots[r % 2]);
    if (r > 0) AddDots<kRows>(dots[(r - 1) % 2], x - kXBytes, sums);
    weights = next;
  }
  AddDots<kRows>(dots[(p.records - 1) % 2], x - kXBytes, sums);
  // The records' end is where the scales are.
  const __m512 scales = _mm512_loadu_ps(record);
  const auto columns = static_cast<__mmask16>((1u << by.columns) - 1);
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
    _mm512_mask_storeu_ps(by.out + row * p.out_stride, columns,
                          _mm512_mul_ps(sums[row], scales));
  }
}

template <DType kType, int kRows>
LAPIDARY_AMX void MultiplyTile(const TileProduct& p) {
  const AmxTileConfig config = ConfigFor(kRows);
  // Not _tile_loadconfig, of which GCC 12 believes that it reads 8 bytes.
  asm volatile("ldtilecfg %0" : : "m"(config));
  const int64_t panel_bytes = QuantPanelSize(kType, p.records);
  for (int64_t i = 0; i < p.panel_count; ++i) {
    MultiplyPanel<kType, kRows>(p, PanelOf(p, i, panel_bytes));
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

const ProductKernels* AmxProductKernels() {
  static const ProductKernels* const kernels = []() -> const ProductKernels* {
    const ProductKernels* rows = Avx512VnniRowKernels();
    if (rows == nullptr || !AmxTilesUsable() ||
        !__builtin_cpu_supports("amx-int8")) {
      return nullptr;
    }
    static const ProductKernels amx = {
        "AMX int8", TileLayout::kRows, Multiply<DType::kInt8>,
        Multiply<DType::kInt4>, rows->decode_int4};
    return &amx;
  }();
  return kernels;
}

}  // namespace lapidary::kernels
