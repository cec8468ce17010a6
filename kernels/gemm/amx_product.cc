#include "kernels/gemm/amx_product.h"

// GCC 12 takes the "undefined" vectors of its own intrinsics for ours (GCC
// bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/amx.h"
#include "kernels/gemm/panel_layout.h"

#define LAPIDARY_AMX \
  __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512bf16")))
#define LAPIDARY_AMX_INLINE LAPIDARY_AMX __attribute__((always_inline)) inline

namespace lapidary::kernels {
namespace {

// Of a tile register.
constexpr int64_t kRows = 16;
constexpr int64_t kRowBytes = 64;
constexpr int64_t kStep = kRowBytes / 2;  // bf16 of k
constexpr int64_t kColumns = kRowBytes / 4;

// A block of outputs: two registers of rows by two of columns, so that four
// registers are loaded for four products.
constexpr int64_t kBlockRows = 2 * kRows;
constexpr int64_t kBlockColumns = 2 * kColumns;

// Between pairs of k in a panel, and between steps.
constexpr int64_t kPairBytes = kPanelRows * 4;
constexpr int64_t kStepBytes = kStep / 2 * kPairBytes;

// What the registers are for: macros take only literals. Sums are named by row
// and column.
#define LAPIDARY_SUMS_00 0
#define LAPIDARY_SUMS_01 1
#define LAPIDARY_SUMS_10 2
#define LAPIDARY_SUMS_11 3
#define LAPIDARY_X_0 4
#define LAPIDARY_X_1 5
#define LAPIDARY_W_0 6
#define LAPIDARY_W_1 7

// Rows [first, first + count) of the source, and what is left of them behind
// the last whole step, with zeros after it.
struct BlockRows {
  int64_t count = 0;
  const std::byte* x = nullptr;
  int64_t stride = 0;  // bytes
  int64_t whole_steps = 0;
  bool has_rest = false;
  alignas(64) uint16_t rest[kBlockRows * kStep];

  BlockRows(const AmxProduct& p, int64_t first)
      : count(std::min(kBlockRows, p.rows - first)),
        x(reinterpret_cast<const std::byte*>(p.source + first * p.k)),
        stride(p.k * 2),
        whole_steps(p.k / kStep),
        has_rest(p.k % kStep != 0) {
    if (!has_rest) return;
    std::memset(rest, 0, sizeof(rest));
    for (int64_t r = 0; r < count; ++r) {
      std::memcpy(rest + r * kStep,
                  p.source + (first + r) * p.k + whole_steps * kStep,
                  p.k % kStep * 2);
    }
  }

  // Whether there are rows for the second register.
  bool two() const { return count > kRows; }

  void Configure() const {
    const int64_t upper = std::min(kRows, count);
    const int64_t lower = two() ? count - kRows : 1;
    AmxTileConfig config;
    for (const int tile : {LAPIDARY_SUMS_00, LAPIDARY_SUMS_01, LAPIDARY_X_0}) {
      config.Set(tile, upper, kRowBytes);
    }
    for (const int tile : {LAPIDARY_SUMS_10, LAPIDARY_SUMS_11, LAPIDARY_X_1}) {
      config.Set(tile, lower, kRowBytes);
    }
    config.Set(LAPIDARY_W_0, kRows, kRowBytes);
    config.Set(LAPIDARY_W_1, kRows, kRowBytes);
    config.Load();
  }
};

// Asks for memory bit by bit: for every other line, since the CPU fetches pairs
// into its second cache. (Asking for all of them takes the tower a twentieth
// longer, and asking for none a quarter. Emerald Rapids.)
struct Ahead {
  static constexpr int64_t kPairOfLines = 128;

  const std::byte* at = nullptr;
  int64_t pairs = 0;  // of each step

  LAPIDARY_AMX_INLINE void Step() {
    for (int64_t i = 0; i < pairs; ++i) {
      _mm_prefetch(at + i * kPairOfLines, _MM_HINT_T1);
    }
    at += pairs * kPairOfLines;
  }
};

template <bool kTwo>
LAPIDARY_AMX_INLINE void MultiplyStep(const std::byte* x, int64_t stride,
                                      const std::byte* w) {
  _tile_loadd(LAPIDARY_W_0, w, kPairBytes);
  _tile_loadd(LAPIDARY_X_0, x, stride);
  _tile_dpbf16ps(LAPIDARY_SUMS_00, LAPIDARY_X_0, LAPIDARY_W_0);
  _tile_loadd(LAPIDARY_W_1, w + kRowBytes, kPairBytes);
  _tile_dpbf16ps(LAPIDARY_SUMS_01, LAPIDARY_X_0, LAPIDARY_W_1);
  if (kTwo) {
    _tile_loadd(LAPIDARY_X_1, x + kRows * stride, stride);
    _tile_dpbf16ps(LAPIDARY_SUMS_10, LAPIDARY_X_1, LAPIDARY_W_0);
    _tile_dpbf16ps(LAPIDARY_SUMS_11, LAPIDARY_X_1, LAPIDARY_W_1);
  }
}

// A block's outputs.
//   w       its first pair
//   stride  of `out`, in bytes
template <bool kTwo>
LAPIDARY_AMX_INLINE void MultiplyBlock(const BlockRows& rows,
                                       const std::byte* w, float* out,
                                       int64_t stride, Ahead* ahead) {
  _tile_zero(LAPIDARY_SUMS_00);
  _tile_zero(LAPIDARY_SUMS_01);
  if (kTwo) {
    _tile_zero(LAPIDARY_SUMS_10);
    _tile_zero(LAPIDARY_SUMS_11);
  }
  const std::byte* x = rows.x;
  for (int64_t step = 0; step < rows.whole_steps; ++step) {
    MultiplyStep<kTwo>(x, rows.stride, w);
    ahead->Step();
    x += kRowBytes;
    w += kStepBytes;
  }
  if (rows.has_rest) {
    MultiplyStep<kTwo>(reinterpret_cast<const std::byte*>(rows.rest), kRowBytes,
                       w);
  }
  _tile_stored(LAPIDARY_SUMS_00, out, stride);
  _tile_stored(LAPIDARY_SUMS_01, out + kColumns, stride);
  if (kTwo) {
    float* second = out + kRows * stride / 4;
    _tile_stored(LAPIDARY_SUMS_10, second, stride);
    _tile_stored(LAPIDARY_SUMS_11, second + kColumns, stride);
  }
}

// Writes a block's outputs as bf16.
//   sums  [rows][kBlockColumns]
LAPIDARY_AMX_INLINE void StoreRounded(const float* sums, int64_t rows,
                                      int64_t columns, int64_t stride,
                                      uint16_t* out) {
  const auto mask = static_cast<__mmask32>((uint64_t{1} << columns) - 1);
  for (int64_t r = 0; r < rows; ++r) {
    const __m512bh rounded = _mm512_cvtne2ps_pbh(
        _mm512_load_ps(sums + kColumns), _mm512_load_ps(sums));
    _mm512_mask_storeu_epi16(out, mask, reinterpret_cast<__m512i>(rounded));
    sums += kBlockColumns;
    out += stride;
  }
}

// Columns [column, column + kBlockColumns) of a block of rows, as far as there
// are any.
//   at  the block's first row in the target
LAPIDARY_AMX void MultiplyColumns(const AmxProduct& p, const BlockRows& rows,
                                  int64_t at, int64_t column,
                                  const std::byte* w, Ahead* ahead) {
  const int64_t columns = std::min(kBlockColumns, p.n - column);
  alignas(64) float room[kBlockRows * kBlockColumns];
  const bool in_place = p.type == DType::kF32 && columns == kBlockColumns;
  const int64_t place = at * p.n + column;
  float* const wide = static_cast<float*>(p.target) + place;
  float* const to = in_place ? wide : room;
  const int64_t stride = (in_place ? p.n : kBlockColumns) * 4;
  if (rows.two()) {
    MultiplyBlock<true>(rows, w, to, stride, ahead);
  } else {
    MultiplyBlock<false>(rows, w, to, stride, ahead);
  }
  if (in_place) return;
  if (p.type == DType::kBf16) {
    StoreRounded(room, rows.count, columns, p.n,
                 static_cast<uint16_t*>(p.target) + place);
    return;
  }
  for (int64_t r = 0; r < rows.count; ++r) {
    std::memcpy(wide + r * p.n, room + r * kBlockColumns, columns * 4);
  }
}

}  // namespace

bool AmxProductUsable() {
  return AmxTilesUsable() && __builtin_cpu_supports("amx-bf16") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512bf16");
}

LAPIDARY_AMX void AmxMultiply(const AmxProduct& p) {
  const int64_t panel_bytes =
      static_cast<int64_t>(PanelBytes(DType::kBf16, p.k));
  const int64_t blocks = (p.rows + kBlockRows - 1) / kBlockRows;
  const int64_t steps =
      std::max<int64_t>(1, 2 * blocks * (p.k / kStep));  // of a panel
  for (int64_t column = 0; column < p.n; column += kPanelRows) {
    const std::byte* panel = p.panels + column / kPanelRows * panel_bytes;
    Ahead ahead{panel + panel_bytes, 0};
    if (column + kPanelRows < p.n) {
      const int64_t pairs = panel_bytes / Ahead::kPairOfLines;
      ahead.pairs = (pairs + steps - 1) / steps;
    }
    for (int64_t block = 0; block < blocks; ++block) {
      const BlockRows rows(p, block * kBlockRows);
      if (block == 0 || rows.count < kBlockRows) rows.Configure();
      const int64_t last = std::min(column + kPanelRows, p.n);
      for (int64_t part = column; part < last; part += kBlockColumns) {
        MultiplyColumns(p, rows, block * kBlockRows, part,
                        panel + (part - column) * 4, &ahead);
      }
    }
  }
  _tile_release();
}

}  // namespace lapidary::kernels
