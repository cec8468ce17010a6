// y = W x for f32 weights by AMX, for one thread.
//
// An f32 number of 24 bits is the sum of three bf16 numbers of 8: itself to 8
// bits, what is left to 8 bits, and the rest. The unit multiplies those, and
// adds up in f32. Of the nine products of two sums it takes the six that
// matter,
//
//   a1 b1 + a1 b2 + a2 b1 + a2 b2 + a1 b3 + a3 b1,
//
// since the rest is 2^-26 of a b at most, a quarter of what a rounding to f32
// may come to. AVX-512 multiplies f32 itself, a sixteenth of what the unit
// multiplies in a cycle: six products take half of its time.
//
// Factors are finite and below 2^127, or NaN is what comes of them; of those
// below 2^-110 parts are lost, since the unit takes denormal numbers for zero.
#ifndef LAPIDARY_KERNELS_GEMM_AMX_F32_H_
#define LAPIDARY_KERNELS_GEMM_AMX_F32_H_

#include <cstddef>
#include <cstdint>

namespace lapidary::kernels {

// Rows of inputs, in memory that somebody else owns, in the order that the unit
// reads them; zeros behind k:
//
//   [rows, 16 at a time][k, 32 at a time][3 parts][16][32] bf16
class AmxF32Rows {
 public:
  // Of so many rows, in whole tiles; for a multiple of kAmxRows also where the
  // next row's tile begins.
  static size_t Bytes(int64_t rows, int64_t k);

  //   data  Bytes(rows, k), 64-byte aligned
  AmxF32Rows(int64_t rows, int64_t k, std::byte* data);

  // Writes columns [column, column + count) of a row. `column` is a multiple of
  // kAmxColumns, and so is `count`, or the row ends there. Where
  // AmxProductUsable() only.
  void Put(int64_t row, int64_t column, const float* values,
           int64_t count) const;

  int64_t rows() const { return rows_; }
  int64_t k() const { return k_; }
  const std::byte* data() const { return data_; }

 private:
  int64_t rows_, k_;
  std::byte* data_;
};

// target[r] = W x[r]. A row is the same in any company. To be called where
// AmxProductUsable() has said yes.
//   panels  [n][k] as panel_layout.h has f32, 64-byte aligned
//   target  [x.rows()][n]; may not alias the others
void AmxMultiplyF32(const AmxF32Rows& x, int64_t n, const std::byte* panels,
                    float* target);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_AMX_F32_H_
