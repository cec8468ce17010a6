// Dot products of bytes and of bf16 pairs, which Highway 1.0.3 does not have.

// GCC 12 takes the "undefined" vectors of its own intrinsics for ours (GCC
// bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <cstring>

#include "kernels/machine/loops.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {
namespace {

constexpr int kChains = 12;

// Hides a value from the compiler, which could otherwise work out the loops
// below, or run chains that begin alike as one.
template <typename Vector>
void Veil(Vector* vector) {
  asm volatile("" : "+m"(*vector));
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) uint64_t Vnni(
    int64_t passes) {
  __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  Veil(&a);
  Veil(&b);
  __m512i sums[kChains];
  for (__m512i& sum : sums) {
    sum = _mm512_setzero_si512();
    Veil(&sum);
  }
  for (int64_t pass = 0; pass < passes; ++pass) {
#pragma GCC unroll 12
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, a, b);
  }
  for (int i = 1; i < kChains; ++i) {
    sums[0] = _mm512_xor_si512(sums[0], sums[i]);
  }
  alignas(64) uint64_t words[8];
  _mm512_store_si512(words, sums[0]);
  return words[0];
}

__attribute__((target("avx512f,avx512bw,avx512bf16"))) uint64_t Bf16(
    int64_t passes) {
  __m512i ones = _mm512_set1_epi16(0x3F80);  // 1.0
  Veil(&ones);
  const auto a = reinterpret_cast<__m512bh>(ones);
  __m512 sums[kChains];
  for (__m512& sum : sums) {
    sum = _mm512_setzero_ps();
    Veil(&sum);
  }
  for (int64_t pass = 0; pass < passes; ++pass) {
#pragma GCC unroll 12
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, a, a);
  }
  for (int i = 1; i < kChains; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  alignas(64) float values[16];
  _mm512_store_ps(values, sums[0]);
  return static_cast<uint64_t>(values[0]);
}

// Three instructions for what VNNI does in one.
__attribute__((target("avx2"))) uint64_t Avx2Bytes(int64_t passes) {
  __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5);
  Veil(&a);
  Veil(&b);
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sums[kChains];
  for (__m256i& sum : sums) {
    sum = _mm256_setzero_si256();
    Veil(&sum);
  }
  for (int64_t pass = 0; pass < passes; ++pass) {
#pragma GCC unroll 12
    for (__m256i& sum : sums) {
      // The sum makes each product another: none can move out of the loop.
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_xor_si256(a, sum), b);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
    }
  }
  for (int i = 1; i < kChains; ++i) {
    sums[0] = _mm256_xor_si256(sums[0], sums[i]);
  }
  return _mm_cvtsi128_si32(_mm256_castsi256_si128(sums[0]));
}

// Four tiles of sums: the unit takes 16 cycles a product and 52 to its result.
constexpr int kTileChains = 4;

template <DType kType>
__attribute__((target("amx-tile,amx-int8,amx-bf16"))) uint64_t Amx(
    int64_t passes) {
  struct {
    uint8_t palette = 1, rest[15] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16};
  } const config;
  alignas(64) uint8_t tile[1024];
  std::memset(tile, 3, sizeof(tile));
  // Not _tile_loadconfig, of which GCC 12 believes that it reads 8 bytes.
  asm volatile("ldtilecfg %0" : : "m"(config));
  _tile_loadd(4, tile, 64);
  _tile_loadd(5, tile, 64);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t pass = 0; pass < passes; ++pass) {
    if constexpr (kType == DType::kInt8) {
      _tile_dpbsud(0, 4, 5);
      _tile_dpbsud(1, 4, 5);
      _tile_dpbsud(2, 4, 5);
      _tile_dpbsud(3, 4, 5);
    } else {
      _tile_dpbf16ps(0, 4, 5);
      _tile_dpbf16ps(1, 4, 5);
      _tile_dpbf16ps(2, 4, 5);
      _tile_dpbf16ps(3, 4, 5);
    }
  }
  _tile_stored(0, tile, 64);
  _tile_release();
  return tile[0];
}

// Operations of a pass over numbers of so many bytes.
constexpr double AmxOperations(int bytes) {
  return 2.0 * kTileChains * 16 * 16 * 64 / bytes;
}

}  // namespace

ArithmeticLoop Bf16DotLoop() {
  // The permission is for all tiles of the process.
  if (AmxProductKernels() != nullptr && __builtin_cpu_supports("amx-bf16")) {
    return {"bf16 dot product (AMX)", AmxOperations(2), Amx<DType::kBf16>};
  }
  if (!__builtin_cpu_supports("avx512bf16")) return {};
  return {"bf16 dot product (AVX-512)", 2.0 * kChains * 32, Bf16};
}

ArithmeticLoop ByteDotLoop() {
  if (AmxProductKernels() != nullptr) {
    return {"int8 dot product (AMX)", AmxOperations(1), Amx<DType::kInt8>};
  }
  if (__builtin_cpu_supports("avx512vnni") &&
      __builtin_cpu_supports("avx512bw")) {
    return {"int8 dot product (AVX-512 VNNI)", 2.0 * kChains * 64, Vnni};
  }
  if (__builtin_cpu_supports("avx2")) {
    return {"int8 dot product (AVX2)", 2.0 * kChains * 32, Avx2Bytes};
  }
  return {};
}

}  // namespace lapidary::kernels
