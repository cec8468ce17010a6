#include "kernels/gemm/amx_f32.h"

// GCC 12 takes the "undefined" vectors of its own intrinsics for ours (GCC
// bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/amx.h"
#include "kernels/gemm/ahead.h"
#include "kernels/gemm/amx_product.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/gemm/panel_walk.h"
#include "kernels/scratch.h"

#define LAPIDARY_AMX \
  __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw")))
#define LAPIDARY_AMX_INLINE LAPIDARY_AMX __attribute__((always_inline)) inline

namespace lapidary::kernels {
namespace {

constexpr int kParts = 3;

// Of a tile register.
constexpr int64_t kRows = kAmxRows;
constexpr int64_t kStep = kAmxColumns;  // of k
constexpr int64_t kRowBytes = 2 * kStep;
constexpr int64_t kTileBytes = kRows * kRowBytes;
constexpr int64_t kColumns = kRowBytes / 4;  // of outputs

// A step's parts, one after another: of inputs, or of kColumns weights.
constexpr int64_t kStepBytes = kParts * kTileBytes;
constexpr int64_t kPanelTiles = kPanelRows / kColumns;
// And of a panel in f32.
constexpr int64_t kWeightBytes = kStep * kPanelRows * 4;

// A stretch of k, whose parts of a panel (24 KB) and of a block of rows (6 KB)
// stay in the first cache, and all parts of its inputs in the second for all
// panels of a group, whose sums stay there in between.
constexpr int64_t kMostSteps = 2;

// What the registers are for: macros take only literals.
#define LAPIDARY_SUMS 0
#define LAPIDARY_X 1
#define LAPIDARY_W_A 2
#define LAPIDARY_W_B 3

void ConfigureRows(int64_t rows) {
  AmxTileConfig config;
  config.Set(LAPIDARY_SUMS, rows, kRowBytes);
  config.Set(LAPIDARY_X, rows, kRowBytes);
  config.Set(LAPIDARY_W_A, kRows, kRowBytes);
  config.Set(LAPIDARY_W_B, kRows, kRowBytes);
  config.Load();
}

// The six products of a step, whose order brings each part in once. As few
// registers as may be, zeroed when they have been used, for the reason that
// amx_product.cc has at its blocks.
//   x, w  [3 parts] of a tile
LAPIDARY_AMX_INLINE void MultiplyStep(const std::byte* x, const std::byte* w) {
  _tile_loadd(LAPIDARY_X, x, kRowBytes);
  _tile_loadd(LAPIDARY_W_A, w + 2 * kTileBytes, kRowBytes);
  _tile_dpbf16ps(LAPIDARY_SUMS, LAPIDARY_X, LAPIDARY_W_A);  // x1 w3
  _tile_zero(LAPIDARY_W_A);
  _tile_loadd(LAPIDARY_W_A, w, kRowBytes);
  _tile_dpbf16ps(LAPIDARY_SUMS, LAPIDARY_X, LAPIDARY_W_A);  // x1 w1
  _tile_loadd(LAPIDARY_W_B, w + kTileBytes, kRowBytes);
  _tile_dpbf16ps(LAPIDARY_SUMS, LAPIDARY_X, LAPIDARY_W_B);  // x1 w2
  _tile_zero(LAPIDARY_X);
  _tile_loadd(LAPIDARY_X, x + kTileBytes, kRowBytes);
  _tile_dpbf16ps(LAPIDARY_SUMS, LAPIDARY_X, LAPIDARY_W_B);  // x2 w2
  _tile_zero(LAPIDARY_W_B);
  _tile_dpbf16ps(LAPIDARY_SUMS, LAPIDARY_X, LAPIDARY_W_A);  // x2 w1
  _tile_zero(LAPIDARY_X);
  _tile_loadd(LAPIDARY_X, x + 2 * kTileBytes, kRowBytes);
  _tile_dpbf16ps(LAPIDARY_SUMS, LAPIDARY_X, LAPIDARY_W_A);  // x3 w1
  _tile_zero(LAPIDARY_X);
  _tile_zero(LAPIDARY_W_A);
}

// Takes a part of each number away and returns it, as f32: the number to eight
// bits. What is left is exact, so that the third part is all that is left. Of
// infinity NaN is left.
LAPIDARY_AMX_INLINE __m512i TakePart(__m512* values) {
  const __m512i half = _mm512_set1_epi32(0x8000);
  const __m512i bits = _mm512_castps_si512(*values);
  const __m512i part =
      _mm512_and_si512(_mm512_add_epi32(bits, half),
                       _mm512_set1_epi32(static_cast<int>(0xFFFF0000)));
  *values = _mm512_sub_ps(*values, _mm512_castsi512_ps(part));
  return part;
}

// Parts of kColumns outputs and two numbers of k, side by side as the unit
// wants its second operand.
//   out  [3 parts], kTileBytes apart
LAPIDARY_AMX_INLINE void PutPairs(__m512 even, __m512 odd, std::byte* out) {
  for (int part = 0; part < kParts; ++part) {
    const __m512i low = _mm512_srli_epi32(TakePart(&even), 16);
    _mm512_store_si512(out + part * kTileBytes,
                       _mm512_or_si512(low, TakePart(&odd)));
  }
}

int64_t Steps(int64_t k) { return (k + kStep - 1) / kStep; }

// A product at work. Sums lie in the target where it has room for a whole
// block, and otherwise in memory of this thread.
class Multiplication {
 public:
  Multiplication(const AmxF32Rows& x, int64_t n, const std::byte* panels,
                 float* target);

  void Run();

 private:
  // Null behind the last.
  const std::byte* Weights(const PanelStretch& at) const {
    if (!walk_.Contains(at)) return nullptr;
    return panels_ + at.panel * panel_bytes_ + at.first * kWeightBytes;
  }
  const std::byte* Inputs(int64_t row, int64_t step) const {
    return x_.data() + (row / kRows * steps_ + step) * kStepBytes;
  }
  // Parts of a stretch's weights of a panel.
  //   parts_  [kPanelTiles][count][3 parts][16][16][2]
  LAPIDARY_AMX void Split(const PanelStretch& now);
  LAPIDARY_AMX void MultiplyPanel(const PanelStretch& now,
                                  const PanelStretch& next);
  LAPIDARY_AMX void AddBlock(const PanelStretch& now, int64_t row,
                             int64_t column, const std::byte* w);
  void Configure(int64_t rows);

  const AmxF32Rows& x_;
  const int64_t n_, steps_, depth_, panel_bytes_;
  const std::byte* const panels_;
  float* const target_;
  const PanelWalk walk_;
  int64_t configured_rows_ = 0;
  std::byte* parts_ = nullptr;
  float* last_sums_ = nullptr;  // of the last columns, where they are few
};

Multiplication::Multiplication(const AmxF32Rows& x, int64_t n,
                               const std::byte* panels, float* target)
    : x_(x),
      n_(n),
      steps_(Steps(x.k())),
      depth_(PaddedPanelDepth(DType::kF32, x.k())),
      panel_bytes_(static_cast<int64_t>(PanelBytes(DType::kF32, x.k()))),
      panels_(panels),
      target_(target),
      walk_((n + kPanelRows - 1) / kPanelRows, steps_, kMostSteps) {
  thread_local Scratch parts, last_sums;
  parts_ = parts.Room<std::byte>(kPanelTiles * kMostSteps * kStepBytes);
  const int64_t tiles = (x.rows() + kRows - 1) / kRows;
  last_sums_ = last_sums.Room<float>(tiles * kRows * kColumns);
}

void Multiplication::Run() {
  walk_.ForEach([this](const PanelStretch& now, const PanelStretch& next) {
    Split(now);
    MultiplyPanel(now, next);
  });
}

void Multiplication::Split(const PanelStretch& now) {
  const auto* w = reinterpret_cast<const float*>(Weights(now));
  for (int64_t step = 0; step < now.count; ++step) {
    // A panel ends with the first half of a step, or with the whole.
    const int64_t there = std::min(kStep, depth_ - (now.first + step) * kStep);
    for (int64_t pair = 0; pair < kStep / 2; ++pair) {
      const float* const even = w + (step * kStep + 2 * pair) * kPanelRows;
      for (int64_t tile = 0; tile < kPanelTiles; ++tile) {
        __m512 a = _mm512_setzero_ps(), b = _mm512_setzero_ps();
        if (2 * pair < there) {
          a = _mm512_load_ps(even + tile * kColumns);
          b = _mm512_load_ps(even + kPanelRows + tile * kColumns);
        }
        PutPairs(
            a, b,
            parts_ + (tile * now.count + step) * kStepBytes + pair * kRowBytes);
      }
    }
  }
}

void Multiplication::MultiplyPanel(const PanelStretch& now,
                                   const PanelStretch& next) {
  const int64_t begin = now.panel * kPanelRows;
  const int64_t end = std::min(begin + kPanelRows, n_);
  const int64_t blocks = (x_.rows() + kRows - 1) / kRows * kPanelTiles;
  Ahead weights(Weights(next), kMostSteps * kWeightBytes, blocks,
                Ahead::Lines::kEveryOther);
  for (int64_t row = 0; row < x_.rows(); row += kRows) {
    Configure(std::min(kRows, x_.rows() - row));
    const std::byte* const after = row + kRows < x_.rows()
                                       ? Inputs(row + kRows, now.first)
                                       : Inputs(0, next.first);
    Ahead inputs(after, now.count * kStepBytes, kPanelTiles,
                 Ahead::Lines::kAll);
    for (int64_t column = begin; column < end; column += kColumns) {
      AddBlock(now, row, column,
               parts_ + (column - begin) / kColumns * now.count * kStepBytes);
      weights.StepToSecond();
      inputs.StepToFirst();
    }
  }
}

// Between blocks the register of sums is zero.
void Multiplication::AddBlock(const PanelStretch& now, int64_t row,
                              int64_t column, const std::byte* w) {
  const bool in_place = column + kColumns <= n_;
  float* const sums =
      in_place ? target_ + row * n_ + column : last_sums_ + row * kColumns;
  const int64_t stride = (in_place ? n_ : kColumns) * 4;
  const std::byte* const x = Inputs(row, now.first);
  if (now.first > 0) _tile_loadd(LAPIDARY_SUMS, sums, stride);
  for (int64_t step = 0; step < now.count; ++step) {
    MultiplyStep(x + step * kStepBytes, w + step * kStepBytes);
  }
  _tile_stored(LAPIDARY_SUMS, sums, stride);
  _tile_zero(LAPIDARY_SUMS);
  if (in_place || !now.ends_panel) return;
  for (int64_t r = row; r < std::min(row + kRows, x_.rows()); ++r) {
    std::memcpy(target_ + r * n_ + column, last_sums_ + r * kColumns,
                (n_ - column) * sizeof(float));
  }
}

void Multiplication::Configure(int64_t rows) {
  if (rows == configured_rows_) return;
  configured_rows_ = rows;
  ConfigureRows(rows);
}

}  // namespace

size_t AmxF32Rows::Bytes(int64_t rows, int64_t k) {
  return (rows + kRows - 1) / kRows * Steps(k) * kStepBytes;
}

AmxF32Rows::AmxF32Rows(int64_t rows, int64_t k, std::byte* data)
    : rows_(rows), k_(k), data_(data) {}

LAPIDARY_AMX void AmxF32Rows::Put(int64_t row, int64_t column,
                                  const float* values, int64_t count) const {
  constexpr int64_t kHalf = kStep / 2;
  std::byte* out = data_ +
                   (row / kRows * Steps(k_) + column / kStep) * kStepBytes +
                   row % kRows * kRowBytes;
  for (int64_t at = 0; at < count; at += kStep, out += kStepBytes) {
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t left =
          std::clamp<int64_t>(count - at - half * kHalf, 0, kHalf);
      const auto mask = static_cast<__mmask16>((1u << left) - 1);
      __m512 v = _mm512_maskz_loadu_ps(mask, values + at + half * kHalf);
      for (int part = 0; part < kParts; ++part) {
        const __m512i bits = _mm512_srli_epi32(TakePart(&v), 16);
        _mm256_store_si256(reinterpret_cast<__m256i*>(out + part * kTileBytes +
                                                      half * kRowBytes / 2),
                           _mm512_cvtepi32_epi16(bits));
      }
    }
  }
}

LAPIDARY_AMX void AmxMultiplyF32(const AmxF32Rows& x, int64_t n,
                                 const std::byte* panels, float* target) {
  if (x.rows() == 0) return;
  Multiplication(x, n, panels, target).Run();
  _tile_release();
}

}  // namespace lapidary::kernels
