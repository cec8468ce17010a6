// AVX2 with FMA. Its byte product adds neighbours up in 16 bits and
// would saturate for int8, so there the weights' sign moves to the activation
// first.

#include <immintrin.h>

#include <cstring>

#include "kernels/quant/activation_tile.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/quant/quant_layout.h"

// See product_avx512.cc.
#define LAPIDARY_AVX2 __attribute__((target("avx2,fma")))
#define LAPIDARY_AVX2_INLINE LAPIDARY_AVX2 __attribute__((always_inline)) inline

namespace lapidary::kernels {
namespace {

constexpr int kQuads = kQuantBlock / 4;
constexpr int kLanes = 8;  // panel rows of a vector
constexpr int kVectors = kQuantPanelRows / kLanes;
// Bytes of a row's quad, and of a panel's.
constexpr int64_t kQuadBytes = 4;
constexpr int64_t kLineBytes = kQuantPanelRows * kQuadBytes;
constexpr int64_t kPrefetchBytes = 8192;

LAPIDARY_AVX2_INLINE __m256i Load(const std::byte* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

LAPIDARY_AVX2_INLINE __m256i Broadcast(const std::byte* at) {
  int32_t value;
  std::memcpy(&value, at, sizeof(value));
  return _mm256_set1_epi32(value);
}

LAPIDARY_AVX2_INLINE __m256i AddPairs(__m256i pairs) {
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

// The dot products of 8 panel rows with one row of the tile.
//   codes  of the block, from the 8 rows on; quads are 64 bytes apart
//   x      the row's quads, x_stride bytes apart
LAPIDARY_AVX2_INLINE __m256i DotInt8(const std::byte* codes, const std::byte* x,
                                     int64_t x_stride) {
  const __m256i sign_bit = _mm256_set1_epi8(static_cast<char>(0x80));
  __m256i dot = _mm256_setzero_si256();
#pragma GCC unroll 8
  for (int quad = 0; quad < kQuads; ++quad) {
    const __m256i w =
        _mm256_xor_si256(Load(codes + quad * kLineBytes), sign_bit);
    const __m256i signed_x =
        _mm256_sign_epi8(Broadcast(x + quad * x_stride), w);
    // At most 2 · 128 · 127 < 2^15.
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), signed_x);
    dot = _mm256_add_epi32(dot, AddPairs(pairs));
  }
  return dot;
}

//   grids  of the block, from the 8 rows on
//   sum    Σ x
LAPIDARY_AVX2_INLINE __m256i DotInt4(const std::byte* codes,
                                     const std::byte* grids, const std::byte* x,
                                     int64_t x_stride, __m256i sum) {
  const __m256i low = _mm256_set1_epi8(0xF);
  // 16 products of at most 15 · 127 are below 2^15.
  __m256i pairs = _mm256_setzero_si256();
#pragma GCC unroll 4
  for (int quad = 0; quad < kQuads / 2; ++quad) {
    const __m256i both = Load(codes + quad * kLineBytes);
    const __m256i first = _mm256_and_si256(both, low);
    const __m256i second = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
    const std::byte* first_x = x + quad * x_stride;
    pairs = _mm256_add_epi16(pairs,
                             _mm256_maddubs_epi16(first, Broadcast(first_x)));
    pairs = _mm256_add_epi16(
        pairs, _mm256_maddubs_epi16(
                   second, Broadcast(first_x + kQuads / 2 * x_stride)));
  }
  // multiplier · (Σ code · x - zero · Σ x), the highest bit being 8 - zero.
  const __m256i grid = _mm256_cvtepi8_epi32(
      _mm_loadl_epi64(reinterpret_cast<const __m128i*>(grids)));
  const __m256i zero =
      _mm256_add_epi32(_mm256_set1_epi32(8), _mm256_srai_epi32(grid, 31));
  const __m256i multiplier = _mm256_and_si256(grid, _mm256_set1_epi32(0xF));
  const __m256i dot =
      _mm256_sub_epi32(AddPairs(pairs), _mm256_mullo_epi32(zero, sum));
  return _mm256_mullo_epi32(multiplier, dot);
}

// A block's dot products of 8 panel rows, from `lane` on, with one row.
//   record  of the panel
//   x       the row's place in the tile's record
template <DType kType>
LAPIDARY_AVX2_INLINE __m256i Dot(const std::byte* record, int64_t block,
                                 int lane, const std::byte* x,
                                 int64_t tile_rows) {
  const std::byte* codes = record +
                           block * QuantCodeBytes(kType) / kQuantRecordBlocks +
                           lane * kQuadBytes;
  const std::byte* of_block = x + block * kQuantBlock * tile_rows;
  if constexpr (kType == DType::kInt8) {
    return DotInt8(codes, of_block, tile_rows * kQuadBytes);
  } else {
    const std::byte* sums = x + SumOffset(tile_rows, 0, block);
    return DotInt4(
        codes, record + QuantCodeBytes(kType) + block * kQuantPanelRows + lane,
        of_block, tile_rows * kQuadBytes, Broadcast(sums));
  }
}

// Rows [first, first + kCount) of the tile. The sums stay in registers.
template <DType kType, int kCount>
LAPIDARY_AVX2 void MultiplyRows(const TileProduct& p, const PanelProduct& by,
                                int64_t first) {
  __m256 sums[kCount][kVectors];
#pragma GCC unroll 4
  for (auto& row : sums) {
    for (__m256& sum : row) sum = _mm256_setzero_ps();
  }
  const std::byte* x = p.tile + first * kQuadBytes;
  const std::byte* record = by.panel;
  for (int64_t r = 0; r < p.records; ++r, record += QuantRecordBytes(kType)) {
    for (int64_t at = 0; at < QuantRecordBytes(kType); at += 64) {
      _mm_prefetch(record + kPrefetchBytes + at, _MM_HINT_T0);
    }
    __m256i dots[kCount][kVectors] = {};
    for (int64_t block = 0; block < kQuantRecordBlocks; ++block) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 4
        for (int i = 0; i < kCount; ++i) {
          dots[i][v] = _mm256_add_epi32(
              dots[i][v], Dot<kType>(record, block, v * kLanes,
                                     x + i * kQuadBytes, p.tile_rows));
        }
      }
    }
    const std::byte* scales = x + ScaleOffset(p.tile_rows, 0);
    for (int i = 0; i < kCount; ++i) {
      const __m256 scale =
          _mm256_castsi256_ps(Broadcast(scales + i * kQuadBytes));
      for (int v = 0; v < kVectors; ++v) {
        sums[i][v] =
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[i][v]), scale, sums[i][v]);
      }
    }
    x += p.tile_rows * kTileRecordRowBytes;
  }
  // The records' end is where the scales are.
  const auto* scales = reinterpret_cast<const float*>(record);
  for (int i = 0; i < kCount; ++i) {
    float row[kQuantPanelRows];
    for (int64_t v = 0; v < kVectors; ++v) {
      _mm256_storeu_ps(
          row + v * kLanes,
          _mm256_mul_ps(sums[i][v], _mm256_loadu_ps(scales + v * kLanes)));
    }
    std::memcpy(by.out + (first + i) * p.out_stride, row,
                by.columns * sizeof(float));
  }
}

template <DType kType>
void Multiply(const TileProduct& p) {
  const int64_t panel_bytes = QuantPanelSize(kType, p.records);
  for (int64_t i = 0; i < p.panel_count; ++i) {
    const PanelProduct by = PanelOf(p, i, panel_bytes);
    int64_t row = 0;
    for (; row + 4 <= p.tile_rows; row += 4) MultiplyRows<kType, 4>(p, by, row);
    for (; row < p.tile_rows; ++row) MultiplyRows<kType, 1>(p, by, row);
  }
}

constexpr ProductKernels kKernels = {"AVX2", TileLayout::kQuads,
                                     Multiply<DType::kInt8>,
                                     Multiply<DType::kInt4>, nullptr};

}  // namespace

const ProductKernels* Avx2ProductKernels() {
  const bool have =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return have ? &kKernels : nullptr;
}

}  // namespace lapidary::kernels
