// int4 codes to the integers they stand for, with AVX-512: for the VNNI kernels
// (product_avx512.cc) and those that feed a matrix unit (product_amx.cc).
#ifndef LAPIDARY_KERNELS_QUANT_DECODE_AVX512_H_
#define LAPIDARY_KERNELS_QUANT_DECODE_AVX512_H_

// GCC 12 takes the "undefined" vectors of its own intrinsics for ours (GCC
// bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/quant/quant_layout.h"

// Functions are compiled for these instructions one by one, never a file: what
// it shares with others through headers must run on every CPU.
#define LAPIDARY_VNNI \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define LAPIDARY_VNNI_INLINE LAPIDARY_VNNI __attribute__((always_inline)) inline

namespace lapidary::kernels {

inline constexpr int kBlockQuads = kQuantBlock / 4;

// Bytes of a panel's quad.
inline constexpr int64_t kQuantLineBytes = kQuantPanelRows * 4;

// What a decoded weight w is written as.
enum class WeightByte : uint8_t {
  kUnsigned = 128,  // w + 128, as int8 weights are stored
  kSigned = 0,      // w
};

// A cache line of weights. If kAhead, asks for the one `ahead` bytes further,
// into L2: L1 has no room beside activations.
template <bool kAhead>
LAPIDARY_VNNI_INLINE __m512i LoadLine(const std::byte* at, int64_t ahead) {
  if constexpr (kAhead) _mm_prefetch(at + ahead, _MM_HINT_T1);
  return _mm512_loadu_si512(at);
}

// The grids of an int4 record, [4 blocks][16 rows]: what maps a code to the
// integer it stands for.
struct Grids {
  __m512i multipliers, offsets;
};

// From the line that they are stored in.
template <WeightByte kByte>
LAPIDARY_VNNI_INLINE Grids GridsFrom(__m512i bytes) {
  const __m512i multipliers = _mm512_and_si512(bytes, _mm512_set1_epi8(0xF));
  // What is added, less 8 · multiplier, or less 7 · multiplier. 8 · 15 stays in
  // its byte.
  const __m512i eight = _mm512_slli_epi16(multipliers, 3);
  const __m512i back =
      _mm512_maskz_mov_epi8(_mm512_movepi8_mask(bytes), multipliers);
  const __m512i added = _mm512_set1_epi8(static_cast<char>(kByte));
  return {multipliers, _mm512_add_epi8(_mm512_sub_epi8(added, eight), back)};
}

// One block's grids, spread to where its codes are.
struct BlockGrids {
  __m512i low, high;  // 16 bits, of two codes: multiplier, multiplier · 2^12
  __m512i offsets;    // 8 bits
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
  const __m512i low = _mm512_shuffle_epi8(
      _mm512_shuffle_i32x4(grids.multipliers, grids.multipliers, kLane),
      to_words);
  return {
      low, _mm512_slli_epi16(low, 12),
      _mm512_shuffle_epi8(
          _mm512_shuffle_i32x4(grids.offsets, grids.offsets, kLane), to_bytes)};
}

// The two lines of bytes, [16 rows][4 k] each, that a line of codes stands for:
// of the codes in the low four bits and in the high ones.
struct TwoLines {
  __m512i low, high;
};

// Two products in a 16-bit lane: neither exceeds its byte, 15 · 15. A high code
// is 16 times too large where it is, and the high half of a product with
// 2^12 times the multiplier 16 times too small.
LAPIDARY_VNNI_INLINE TwoLines Decode(__m512i codes, const BlockGrids& grids) {
  const __m512i fours = _mm512_set1_epi8(0xF);
  const __m512i low =
      _mm512_mullo_epi16(_mm512_and_si512(codes, fours), grids.low);
  const __m512i high =
      _mm512_mulhi_epu16(_mm512_andnot_si512(fours, codes), grids.high);
  return {_mm512_add_epi8(low, grids.offsets),
          _mm512_add_epi8(high, grids.offsets)};
}

// Writes block kBlock of an int4 record as [8 quads][16 rows][4 k] bytes.
//   out  of the record, 64-byte aligned
template <int kBlock, bool kAhead>
LAPIDARY_VNNI_INLINE void DecodeBlock(const std::byte* record,
                                      const Grids& grids, int64_t ahead,
                                      std::byte* out) {
  const BlockGrids block = Spread<kBlock>(grids);
  record += kBlock * QuantCodeBytes(DType::kInt4) / kQuantRecordBlocks;
  out += kBlock * QuantCodeBytes(DType::kInt8) / kQuantRecordBlocks;
#pragma GCC unroll 4
  for (int half = 0; half < kBlockQuads / 2; ++half) {
    const TwoLines quads =
        Decode(LoadLine<kAhead>(record + half * kQuantLineBytes, ahead), block);
    _mm512_store_si512(out + half * kQuantLineBytes, quads.low);
    _mm512_store_si512(out + (half + kBlockQuads / 2) * kQuantLineBytes,
                       quads.high);
  }
}

// Writes an int4 record as [32 quads][16 rows][4 k] bytes. If kAhead, asks for
// the record `ahead` bytes further.
//   out  64-byte aligned
template <WeightByte kByte, bool kAhead>
LAPIDARY_VNNI_INLINE void DecodeRecord(const std::byte* record, int64_t ahead,
                                       std::byte* out) {
  const Grids grids = GridsFrom<kByte>(
      LoadLine<kAhead>(record + QuantCodeBytes(DType::kInt4), ahead));
  DecodeBlock<0, kAhead>(record, grids, ahead, out);
  DecodeBlock<1, kAhead>(record, grids, ahead, out);
  DecodeBlock<2, kAhead>(record, grids, ahead, out);
  DecodeBlock<3, kAhead>(record, grids, ahead, out);
}

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_DECODE_AVX512_H_
