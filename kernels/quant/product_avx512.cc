// AVX-512 with VNNI, whose vpdpbusd multiplies 64 unsigned weights by signed
// activations and adds them up in fours: one for each of a panel's 16 rows.

// GCC 12 takes the "undefined" vectors of its own intrinsics for ours (GCC
// bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <cstring>
#include <utility>

#include "kernels/quant/activations.h"
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

// How far ahead of the weights in use to ask for more. Nearer, memory and
// arithmetic take turns; 16 KB is no better (kernel-notes.md §3).
constexpr int64_t kPrefetchBytes = 8192;

// From so many rows on. With fewer there is little arithmetic, and the CPU's own
// prefetcher keeps more lines on their way than it does beside ours: one row
// 44 against 35 GB/s, two 38 against 33, four even, eight 16 against 19 (Zen 4).
constexpr int kPrefetchRows = 4;

// Rows whose dot products run side by side: enough to hide the latency of
// vpdpbusd, few enough to leave registers for 16 rows' sums and a block's
// weights.
constexpr int kRowsTogether = 4;

template <typename T>
LAPIDARY_VNNI_INLINE T Read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

LAPIDARY_VNNI_INLINE __m512i Broadcast(const std::byte* at) {
  return _mm512_set1_epi32(Read<int32_t>(at));
}

template <DType kType>
LAPIDARY_VNNI_INLINE void LoadBlock(const std::byte* codes, __m512i* quads) {
  if constexpr (kType == DType::kInt8) {
#pragma GCC unroll 8
    for (int quad = 0; quad < kQuads; ++quad) {
      quads[quad] = _mm512_loadu_si512(codes + quad * 64);
    }
  } else {
    const __m512i low = _mm512_set1_epi8(0xF);
#pragma GCC unroll 4
    for (int quad = 0; quad < kQuads / 2; ++quad) {
      const __m512i both = _mm512_loadu_si512(codes + quad * 64);
      quads[quad] = _mm512_and_si512(both, low);
      quads[quad + kQuads / 2] =
          _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
  }
}

// Where a dot product starts, so that the weights' offset cancels.
template <DType kType>
LAPIDARY_VNNI_INLINE __m512i Start(const std::byte* offset) {
  const __m512i start = Broadcast(offset);
  return kType == DType::kInt4 ? start : _mm512_slli_epi32(start, 4);
}

// Adds a block to the sums of rows [kFirst, kFirst + kCount) of the tile.
template <DType kType, int kRows, int kFirst, int kCount>
LAPIDARY_VNNI_INLINE void AddRows(const __m512i* quads, __m512 scales,
                                  const std::byte* block, __m512* sums) {
  const std::byte* x_scales = block + kRows * kQuantBlock;
  const std::byte* offsets = x_scales + kRows * 4;
  __m512i dots[kCount];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    dots[i] = Start<kType>(offsets + (kFirst + i) * 4);
  }
#pragma GCC unroll 8
  for (int quad = 0; quad < kQuads; ++quad) {
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      dots[i] = _mm512_dpbusd_epi32(
          dots[i], quads[quad],
          Broadcast(block + (quad * kRows + kFirst + i) * 4));
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    const __m512 scale = _mm512_mul_ps(
        scales, _mm512_set1_ps(Read<float>(x_scales + (kFirst + i) * 4)));
    sums[kFirst + i] =
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[i]), scale, sums[kFirst + i]);
  }
}

template <DType kType, int kRows, int kFirst = 0>
LAPIDARY_VNNI_INLINE void AddBlock(const __m512i* quads, __m512 scales,
                                   const std::byte* block, __m512* sums) {
  constexpr int kLeft = kRows - kFirst;
  if constexpr (kLeft > kRowsTogether) {
    AddRows<kType, kRows, kFirst, kRowsTogether>(quads, scales, block, sums);
    AddBlock<kType, kRows, kFirst + kRowsTogether>(quads, scales, block, sums);
  } else {
    AddRows<kType, kRows, kFirst, kLeft>(quads, scales, block, sums);
  }
}

template <DType kType, int kRows>
LAPIDARY_VNNI void MultiplyTile(const TileProduct& p) {
  constexpr int64_t kRecordBytes = QuantRecordBytes(kType);
  constexpr int64_t kCodeBytes = QuantCodeBytes(kType);
  __m512 sums[kRows];
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) sums[row] = _mm512_setzero_ps();
  const std::byte* block = p.tile;
  const std::byte* record = p.panel;
  for (int64_t r = 0; r < p.records; ++r, record += kRecordBytes) {
    if constexpr (kRows >= kPrefetchRows) {
#pragma GCC unroll 17
      for (int64_t at = 0; at < kRecordBytes; at += 64) {
        _mm_prefetch(record + kPrefetchBytes + at, _MM_HINT_T0);
      }
    }
#pragma GCC unroll 2
    for (int half = 0; half < kQuantRecordBlocks; ++half) {
      __m512i quads[kQuads];
      LoadBlock<kType>(record + half * kCodeBytes / kQuantRecordBlocks, quads);
      const __m512 scales =
          _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(
              record + kCodeBytes + half * kQuantPanelRows * 2)));
      AddBlock<kType, kRows>(quads, scales, block, sums);
      block += kRows * kTileBlockRowBytes;
    }
  }
  const auto columns = static_cast<__mmask16>((1u << p.columns) - 1);
#pragma GCC unroll 16
  for (int row = 0; row < kRows; ++row) {
    _mm512_mask_storeu_ps(p.out + row * p.out_stride, columns, sums[row]);
  }
}

// One function for each number of rows.
template <DType kType, int... kIndices>
void Dispatch(const TileProduct& p, std::integer_sequence<int, kIndices...>) {
  static constexpr TileKernel kByRows[] = {
      MultiplyTile<kType, kIndices + 1>...};
  kByRows[p.tile_rows - 1](p);
}

template <DType kType>
void Multiply(const TileProduct& p) {
  Dispatch<kType>(p, std::make_integer_sequence<int, kMaxTileRows>());
}

constexpr ProductKernels kKernels = {"AVX-512 VNNI", Multiply<DType::kInt8>,
                                     Multiply<DType::kInt4>};

}  // namespace

const ProductKernels* Avx512VnniProductKernels() {
  const bool have = __builtin_cpu_supports("avx512f") &&
                    __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512vnni");
  return have ? &kKernels : nullptr;
}

}  // namespace lapidary::kernels
