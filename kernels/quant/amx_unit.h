// Four panels of weights times tiles of activations by AMX, whose tdpb
// multiplies 16 activation rows of 64 k by the same 64 k of a panel's 16 rows:
// eight times what VNNI does in a cycle. A panel lies as the unit wants its
// second operand; activations lie in rows for it.
//
// What takes the time is what feeds the unit. Four panels go side by side, so
// that a record of activations is loaded once for four of weights, and so that
// the memory has four streams to read ahead of. Beside the unit, vectors decode
// the next record (int4) and scale the last but one: what has just been stored
// is slow to load again, into a tile or out of it.
#ifndef LAPIDARY_KERNELS_QUANT_AMX_UNIT_H_
#define LAPIDARY_KERNELS_QUANT_AMX_UNIT_H_

#include <algorithm>
#include <cstring>

#include "kernels/amx.h"
#include "kernels/quant/activation_tile.h"
#include "kernels/quant/decode_avx512.h"
#include "kernels/quant/quant_layout.h"

// See decode_avx512.h.
#define LAPIDARY_AMX \
  __attribute__((    \
      target("amx-tile,amx-int8,avx512f,avx512bw,avx512vl,avx512vnni")))
#define LAPIDARY_AMX_INLINE LAPIDARY_AMX __attribute__((always_inline)) inline

namespace lapidary::kernels::amx {

// Panels side by side.
inline constexpr int kPanels = 4;

// Columns of a tile register: k of a step, and bytes of a register's row.
inline constexpr int64_t kStep = 64;
inline constexpr int64_t kStepBytes = kStep * kQuantPanelRows;
inline constexpr int64_t kDecodedBytes = QuantRecordBytes(DType::kInt8);

// How many records ahead of those in use, of each of the panels, to ask for.
inline constexpr int64_t kRecordsAhead = 2;

// What the tile registers are for: macros take only literals. Dot products take
// turns in two.
#define LAPIDARY_DOTS_0 0
#define LAPIDARY_DOTS_1 1
#define LAPIDARY_ACTIVATIONS_0 2
#define LAPIDARY_ACTIVATIONS_1 3
#define LAPIDARY_WEIGHTS_0 4
#define LAPIDARY_WEIGHTS_1 5

// Configures the registers for tiles of so many rows.
LAPIDARY_AMX_INLINE void LoadConfig(int64_t tile_rows) {
  AmxTileConfig config;
  for (int tile = LAPIDARY_DOTS_0; tile <= LAPIDARY_WEIGHTS_1; ++tile) {
    config.Set(tile, tile < LAPIDARY_WEIGHTS_0 ? tile_rows : kStep / 4, kStep);
  }
  config.Load();
}

template <typename T>
LAPIDARY_AMX_INLINE T Read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// Four panels at a time of some that follow one another. Where fewer are left
// the last stands in for those that are not there.
struct FourPanels {
  const std::byte* panel[kPanels];
  int64_t count;
  int64_t ahead_at_end;  // from a panel's last records to the next four's first

  FourPanels(const std::byte* panels, int64_t left, int64_t records,
             DType dtype)
      : count(std::min<int64_t>(left, kPanels)) {
    const int64_t bytes = QuantPanelSize(dtype, records);
    for (int64_t i = 0; i < kPanels; ++i) {
      panel[i] = panels + std::min(i, count - 1) * bytes;
    }
    ahead_at_end =
        kPanels * bytes - (records - kRecordsAhead) * QuantRecordBytes(dtype);
  }
};

// Weights that the unit reads where they are: [4 panels][records] of bytes.
template <WeightByte kKind>
struct StoredWeights {
  static constexpr WeightByte kByte = kKind;
  const std::byte* panel[kPanels];
  bool ahead = false;  // whether they are in no cache yet

  LAPIDARY_AMX_INLINE const std::byte* First() const { return panel[0]; }

  // What follows record r of panel kPanel in the order of the products.
  template <int kPanel>
  LAPIDARY_AMX_INLINE const std::byte* After(int64_t r) const {
    const std::byte* record = panel[(kPanel + 1) % kPanels] +
                              (r + (kPanel + 1) / kPanels) * kDecodedBytes;
    if (ahead) {
#pragma GCC unroll 32
      for (int64_t at = 0; at < kDecodedBytes; at += 64) {
        _mm_prefetch(record + kRecordsAhead * kDecodedBytes + at, _MM_HINT_T1);
      }
    }
    return record;
  }
};

// int4 weights, decoded while the unit is at the record before.
struct DecodedWeights {
  static constexpr WeightByte kByte = WeightByte::kSigned;
  const FourPanels& panels;
  int64_t records;
  std::byte* room;  // of two decoded records

  LAPIDARY_AMX_INLINE const std::byte* First() const {
    DecodeRecord<kByte, true>(panels.panel[0], Ahead(0), room);
    return room;
  }

  template <int kPanel>
  LAPIDARY_AMX_INLINE const std::byte* After(int64_t r) const {
    constexpr int kNext = (kPanel + 1) % kPanels;
    std::byte* const decoded = room + kNext % 2 * kDecodedBytes;
    r += (kPanel + 1) / kPanels;
    if (r < records) {
      DecodeRecord<kByte, true>(
          panels.panel[kNext] + r * QuantRecordBytes(DType::kInt4), Ahead(r),
          decoded);
    }
    return decoded;
  }

 private:
  LAPIDARY_AMX_INLINE int64_t Ahead(int64_t r) const {
    return r + kRecordsAhead < records
               ? kRecordsAhead * QuantRecordBytes(DType::kInt4)
               : panels.ahead_at_end;
  }
};

#define LAPIDARY_MULTIPLY(product, dots)                        \
  _tile_zero(dots);                                             \
  _tile_loadd(LAPIDARY_WEIGHTS_0, weights, kStep);              \
  product(dots, LAPIDARY_ACTIVATIONS_0, LAPIDARY_WEIGHTS_0);    \
  _tile_loadd(LAPIDARY_WEIGHTS_1, weights + kStepBytes, kStep); \
  product(dots, LAPIDARY_ACTIVATIONS_1, LAPIDARY_WEIGHTS_1)

// Dot products of the record of activations that is loaded, into one of the two
// registers.
template <WeightByte kByte, int kDots>
LAPIDARY_AMX_INLINE void MultiplyRecord(const std::byte* weights) {
  if constexpr (kByte == WeightByte::kSigned) {
    if constexpr (kDots == 0) {
      LAPIDARY_MULTIPLY(_tile_dpbssd, LAPIDARY_DOTS_0);
    } else {
      LAPIDARY_MULTIPLY(_tile_dpbssd, LAPIDARY_DOTS_1);
    }
  } else {
    if constexpr (kDots == 0) {
      LAPIDARY_MULTIPLY(_tile_dpbsud, LAPIDARY_DOTS_0);
    } else {
      LAPIDARY_MULTIPLY(_tile_dpbsud, LAPIDARY_DOTS_1);
    }
  }
}

template <int kDots>
LAPIDARY_AMX_INLINE void StoreDots(int32_t* dots) {
  if constexpr (kDots == 0) {
    _tile_stored(LAPIDARY_DOTS_0, dots, kStep);
  } else {
    _tile_stored(LAPIDARY_DOTS_1, dots, kStep);
  }
}

// Adds a record's dot products to a panel's sums, [rows][16].
//   x  the record of activations
template <WeightByte kByte, int kRows>
LAPIDARY_AMX_INLINE void AddDots(const int32_t* dots, const std::byte* x,
                                 float* sums) {
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
    __m512i dot = _mm512_load_si512(dots + row * kQuantPanelRows);
    if constexpr (kByte == WeightByte::kUnsigned) {
      dot = _mm512_add_epi32(
          dot, _mm512_set1_epi32(Read<int32_t>(x + StartOffset(kRows, row))));
    }
    float* const sum = sums + row * kQuantPanelRows;
    _mm512_store_ps(
        sum, _mm512_fmadd_ps(
                 _mm512_cvtepi32_ps(dot),
                 _mm512_set1_ps(Read<float>(x + ScaleOffset(kRows, row))),
                 _mm512_load_ps(sum)));
  }
}

// The state of AddRecords. A step is a record of one of the panels.
template <int kRows>
struct Steps {
  static constexpr int64_t kXBytes = kRows * kTileRecordRowBytes;
  static constexpr int64_t kSums = kRows * kQuantPanelRows;  // of a panel

  alignas(64) int32_t dots[2][kSums];
  const std::byte* x;
  const std::byte* weights;
  float* sums;
};

// Multiplies one record, stores the dot products of the step before, and adds
// those of the one before that.
template <int kPanel, int kRows, class Weights>
LAPIDARY_AMX_INLINE void Step(const Weights& weights, int64_t r,
                              Steps<kRows>* steps) {
  constexpr int kDots = kPanel % 2;
  const std::byte* const next = weights.template After<kPanel>(r);
  MultiplyRecord<Weights::kByte, kDots>(steps->weights);
  steps->weights = next;
  if (kPanel > 0 || r > 0) StoreDots<1 - kDots>(steps->dots[1 - kDots]);
  if (kPanel > 1 || r > 0) {
    AddDots<Weights::kByte, kRows>(
        steps->dots[kDots],
        kPanel > 1 ? steps->x : steps->x - Steps<kRows>::kXBytes,
        steps->sums + (kPanel + 2) % kPanels * Steps<kRows>::kSums);
  }
}

// Adds the products of some records to the sums of four panels.
//   x     the first of the records, of a tile of kRows rows
//   sums  [4 panels][rows][16]
template <int kRows, class Weights>
LAPIDARY_AMX_INLINE void AddRecords(const Weights& weights, const std::byte* x,
                                    int64_t records, float* sums) {
  Steps<kRows> steps;
  steps.x = x;
  steps.sums = sums;
  steps.weights = weights.First();
  for (int64_t r = 0; r < records; ++r) {
    _tile_loadd(LAPIDARY_ACTIVATIONS_0, steps.x, kQuantRecordDepth);
    _tile_loadd(LAPIDARY_ACTIVATIONS_1, steps.x + kStep, kQuantRecordDepth);
    Step<0>(weights, r, &steps);
    Step<1>(weights, r, &steps);
    Step<2>(weights, r, &steps);
    Step<3>(weights, r, &steps);
    steps.x += Steps<kRows>::kXBytes;
  }
  StoreDots<1>(steps.dots[1]);
  for (int last = 0; last < 2; ++last) {
    AddDots<Weights::kByte, kRows>(
        steps.dots[last], steps.x - Steps<kRows>::kXBytes,
        sums + (kPanels - 2 + last) * Steps<kRows>::kSums);
  }
}

// Writes the sums of four panels, times the weights' scales.
//   sums     [4 panels][rows][16]
//   scales   where the panels have their scales
//   columns  of all panels that are there
LAPIDARY_AMX_INLINE void WriteSums(const float* sums, int64_t rows,
                                   const FourPanels& panels, int64_t scales,
                                   int64_t columns, float* out,
                                   int64_t out_stride) {
  __m512 scale[kPanels];
  __mmask16 mask[kPanels];
  for (int64_t i = 0; i < kPanels; ++i) {
    scale[i] = _mm512_loadu_ps(panels.panel[i] + scales);
    const int64_t wide =
        std::clamp<int64_t>(columns - i * kQuantPanelRows, 0, kQuantPanelRows);
    mask[i] = static_cast<__mmask16>((1u << wide) - 1);
  }
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < kPanels; ++i) {
      const float* const sum = sums + (i * rows + row) * kQuantPanelRows;
      _mm512_mask_storeu_ps(out + row * out_stride + i * kQuantPanelRows,
                            mask[i],
                            _mm512_mul_ps(_mm512_load_ps(sum), scale[i]));
    }
  }
}

}  // namespace lapidary::kernels::amx

#endif  // LAPIDARY_KERNELS_QUANT_AMX_UNIT_H_
