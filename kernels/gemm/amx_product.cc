#include "kernels/gemm/amx_product.h"

// GCC 12 takes the "undefined" vectors of its own intrinsics for ours (GCC
// bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/amx.h"
#include "kernels/gemm/ahead.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/gemm/panel_walk.h"
#include "kernels/scratch.h"

#define LAPIDARY_AMX \
  __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512bf16")))
#define LAPIDARY_AMX_INLINE LAPIDARY_AMX __attribute__((always_inline)) inline

namespace lapidary::kernels {
namespace {

// Of a tile register.
constexpr int64_t kRows = kAmxRows;
constexpr int64_t kStep = kAmxColumns;  // of k
constexpr int64_t kRowBytes = 2 * kStep;
constexpr int64_t kColumns = kRowBytes / 4;  // of outputs

// A block of outputs: a register of rows by two of columns. Blocks of two by
// two would load a third fewer operands, but they keep all eight registers in
// use. While the core's other hardware thread works (a stranger's, maybe: it
// need not use the unit), this one has ten registers in all to rename those to
// (measured on Emerald Rapids), and two by two take four times as long as they
// do without a neighbour, these twice. Without one, both are as fast.
constexpr int64_t kBlockRows = kRows;
constexpr int64_t kBlockColumns = 2 * kColumns;
constexpr int64_t kBlockSums = kBlockRows * kBlockColumns;
constexpr int64_t kPanelBlocks = kPanelRows / kBlockColumns;

// Between pairs of k in a panel, and between steps.
constexpr int64_t kPairBytes = kPanelRows * 4;
constexpr int64_t kStepBytes = kStep / 2 * kPairBytes;

// A stretch of k. Its weights of a panel and its inputs of a block of rows, 40
// KB, stay in the first cache, and all its inputs in the second for all panels
// of a group, whose sums stay there in between.
constexpr int64_t kMostSteps = 8;

// What the registers are for: macros take only literals.
#define LAPIDARY_SUMS_0 0
#define LAPIDARY_SUMS_1 1
#define LAPIDARY_X 2
#define LAPIDARY_W 3

void ConfigureRows(int64_t rows) {
  AmxTileConfig config;
  for (const int tile : {LAPIDARY_SUMS_0, LAPIDARY_SUMS_1, LAPIDARY_X}) {
    config.Set(tile, rows, kRowBytes);
  }
  config.Set(LAPIDARY_W, kRows, kRowBytes);
  config.Load();
}

// Few rows wait for memory alone, and when all lines of it are asked for they
// wait a fifth less. (Emerald Rapids.)
constexpr int64_t kFewRows = 32;

// Where a step of a block has its inputs and weights.
struct Operands {
  const std::byte* x = nullptr;
  int64_t row_bytes = 0;
  const std::byte* w = nullptr;
};

// A register that has been used is zeroed: zeros are kept in none of the ten.
LAPIDARY_AMX_INLINE void MultiplyStep(const Operands& at) {
  _tile_loadd(LAPIDARY_X, at.x, at.row_bytes);
  _tile_loadd(LAPIDARY_W, at.w, kPairBytes);
  _tile_dpbf16ps(LAPIDARY_SUMS_0, LAPIDARY_X, LAPIDARY_W);
  _tile_zero(LAPIDARY_W);
  _tile_loadd(LAPIDARY_W, at.w + kRowBytes, kPairBytes);
  _tile_dpbf16ps(LAPIDARY_SUMS_1, LAPIDARY_X, LAPIDARY_W);
  _tile_zero(LAPIDARY_X);
  _tile_zero(LAPIDARY_W);
}

// Sums of a block, from `stride` bytes a row.
LAPIDARY_AMX_INLINE void LoadSums(const float* sums, int64_t stride) {
  _tile_loadd(LAPIDARY_SUMS_0, sums, stride);
  _tile_loadd(LAPIDARY_SUMS_1, sums + kColumns, stride);
}

LAPIDARY_AMX_INLINE void StoreSums(float* sums, int64_t stride) {
  _tile_stored(LAPIDARY_SUMS_0, sums, stride);
  _tile_zero(LAPIDARY_SUMS_0);
  _tile_stored(LAPIDARY_SUMS_1, sums + kColumns, stride);
  _tile_zero(LAPIDARY_SUMS_1);
}

// Adds a stretch's products to a block's sums, or makes them: between blocks
// the registers of sums are zero.
//   rest  [kBlockRows][kStep] inputs of a last step that is not whole, or null
LAPIDARY_AMX_INLINE void MultiplyBlock(Operands at, const PanelStretch& stretch,
                                       int64_t columns_bytes,
                                       const uint16_t* rest, float* sums,
                                       int64_t stride, Ahead* ahead) {
  if (stretch.first > 0) LoadSums(sums, stride);
  for (int64_t step = 0; step < stretch.count; ++step) {
    MultiplyStep(at);
    ahead->StepToSecond();
    at.x += columns_bytes;
    at.w += kStepBytes;
  }
  if (rest != nullptr) {
    MultiplyStep({reinterpret_cast<const std::byte*>(rest), kRowBytes, at.w});
  }
  StoreSums(sums, stride);
}

// Writes a block's sums as bf16.
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

// A product at work. Sums lie in the target, where it has their type and room
// for a whole block, or in memory of this thread.
class Multiplication {
 public:
  explicit Multiplication(const AmxProduct& product);

  void Run();

 private:
  // Null behind the last.
  const std::byte* Weights(const PanelStretch& at) const {
    if (!walk_.Contains(at)) return nullptr;
    return p_.panels + at.panel * panel_bytes_ + at.first * kStepBytes;
  }
  void MultiplyPanel(const PanelStretch& now, const PanelStretch& next);
  // Rows from `row` on, columns from `column` on.
  LAPIDARY_AMX void AddBlock(const Operands& at, const PanelStretch& now,
                             int64_t row, int64_t column, Ahead* ahead);
  // Writes a block that is not summed up in the target.
  LAPIDARY_AMX void WriteBlock(const float* sums, int64_t row, int64_t column);

  int64_t RowsOfBlock(int64_t row) const {
    return std::min(kBlockRows, p_.inputs.rows - row);
  }
  void Configure(int64_t rows);
  // What is left of a block's rows behind their last whole step, and zeros.
  void CopyRest(int64_t row);
  // Where a block that is not summed up in the target has its sums.
  float* Room(int64_t row, int64_t column) const;

  const AmxProduct& p_;
  const int64_t panel_bytes_, row_blocks_;
  const int64_t steps_;  // that are whole, or padded
  const bool has_rest_;
  const PanelWalk walk_;
  int64_t configured_rows_ = 0;
  float* room_ = nullptr;
  alignas(64) uint16_t rest_[kBlockRows * kStep];
};

Multiplication::Multiplication(const AmxProduct& product)
    : p_(product),
      panel_bytes_(static_cast<int64_t>(PanelBytes(DType::kBf16, p_.inputs.k))),
      row_blocks_((p_.inputs.rows + kBlockRows - 1) / kBlockRows),
      steps_((p_.inputs.k + (p_.inputs.padded ? kStep - 1 : 0)) / kStep),
      has_rest_(steps_ * kStep < p_.inputs.k),
      walk_((p_.n + kPanelRows - 1) / kPanelRows, steps_, kMostSteps) {
  thread_local Scratch room;
  const int64_t blocks =
      walk_.stretches() == 1
          ? 1
          : PanelWalk::kGroupPanels * kPanelBlocks * row_blocks_;
  room_ = room.Room<float>(blocks * kBlockSums);
}

void Multiplication::Run() {
  walk_.ForEach([this](const PanelStretch& now, const PanelStretch& next) {
    MultiplyPanel(now, next);
  });
}

void Multiplication::MultiplyPanel(const PanelStretch& now,
                                   const PanelStretch& next) {
  Ahead ahead(Weights(next), walk_.size() * kStepBytes,
              row_blocks_ * kPanelBlocks * now.count,
              p_.inputs.rows <= kFewRows ? Ahead::Lines::kAll
                                         : Ahead::Lines::kEveryOther);
  const int64_t first = now.panel * kPanelRows;
  const int64_t last = std::min(first + kPanelRows, p_.n);
  Operands at;
  at.row_bytes = p_.inputs.row_bytes;
  for (int64_t row = 0; row < p_.inputs.rows; row += kBlockRows) {
    Configure(RowsOfBlock(row));
    if (has_rest_ && now.ends_panel) CopyRest(row);
    at.x = p_.inputs.data + row / kRows * p_.inputs.rows_bytes +
           now.first * p_.inputs.columns_bytes;
    for (int64_t column = first; column < last; column += kBlockColumns) {
      at.w = Weights(now) + (column - first) * 4;
      AddBlock(at, now, row, column, &ahead);
    }
  }
}

void Multiplication::AddBlock(const Operands& at, const PanelStretch& now,
                              int64_t row, int64_t column, Ahead* ahead) {
  const bool in_place =
      p_.type == DType::kF32 && column + kBlockColumns <= p_.n;
  float* const sums = in_place
                          ? static_cast<float*>(p_.target) + row * p_.n + column
                          : Room(row, column);
  const int64_t stride = (in_place ? p_.n : kBlockColumns) * 4;
  const int64_t columns_bytes = p_.inputs.columns_bytes;
  MultiplyBlock(at, now, columns_bytes,
                has_rest_ && now.ends_panel ? rest_ : nullptr, sums, stride,
                ahead);
  if (now.ends_panel && !in_place) WriteBlock(sums, row, column);
}

void Multiplication::WriteBlock(const float* sums, int64_t row,
                                int64_t column) {
  const int64_t columns = std::min(kBlockColumns, p_.n - column);
  const int64_t place = row * p_.n + column;
  if (p_.type == DType::kBf16) {
    StoreRounded(sums, RowsOfBlock(row), columns, p_.n,
                 static_cast<uint16_t*>(p_.target) + place);
    return;
  }
  float* const out = static_cast<float*>(p_.target) + place;
  for (int64_t r = 0; r < RowsOfBlock(row); ++r) {
    std::memcpy(out + r * p_.n, sums + r * kBlockColumns, columns * 4);
  }
}

void Multiplication::Configure(int64_t rows) {
  if (rows == configured_rows_) return;
  configured_rows_ = rows;
  ConfigureRows(rows);
}

void Multiplication::CopyRest(int64_t row) {
  std::memset(rest_, 0, sizeof(rest_));
  for (int64_t r = 0; r < RowsOfBlock(row); ++r) {
    std::memcpy(rest_ + r * kStep,
                p_.inputs.data + (row + r) / kRows * p_.inputs.rows_bytes +
                    (row + r) % kRows * p_.inputs.row_bytes +
                    steps_ * p_.inputs.columns_bytes,
                (p_.inputs.k - steps_ * kStep) * 2);
  }
}

float* Multiplication::Room(int64_t row, int64_t column) const {
  if (walk_.stretches() == 1) return room_;
  const int64_t in_group =
      column % (PanelWalk::kGroupPanels * kPanelRows) / kBlockColumns;
  return room_ + (in_group * row_blocks_ + row / kBlockRows) * kBlockSums;
}

}  // namespace

bool AmxProductUsable() {
  return AmxTilesUsable() && __builtin_cpu_supports("amx-bf16") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512bf16");
}

LAPIDARY_AMX void AmxMultiply(const AmxProduct& product) {
  if (product.inputs.rows == 0) return;
  Multiplication(product).Run();
  _tile_release();
}

}  // namespace lapidary::kernels
