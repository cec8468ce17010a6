// y = W x for f32 weights by AMX, for one thread.
//
// An f32 number is the sum of three bf16 numbers: its first eight bits, its
// second, and its last. The unit multiplies those, and adds up in f32. Of the
// nine products of two sums it takes the six that matter,
//
//   a1 b1 + a1 b2 + a2 b1 + a2 b2 + a1 b3 + a3 b1,
//
// since the rest is 2^-20 of a b at most and 2^-24 in the mean, the half of
// what a rounding to f32 loses. AVX-512 multiplies f32 itself, a 64th of what
// the unit does with bf16 in a cycle, and both wait for memory: in practice six
// products take half of its time.
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
  // kAmxColumns, and so is `count`, or the row ends there. AmxProductUsable()
  // only, as what follows. Infinities become NaN.
  void Put(int64_t row, int64_t column, const float* values,
           int64_t count) const;

  int64_t rows() const { return rows_; }
  int64_t k() const { return k_; }
  const std::byte* data() const { return data_; }

 private:
  int64_t rows_, k_;
  std::byte* data_;
};

// target[r] = W x[r]. A row is the same in any company.
//   panels  [n][k] as panel_layout.h has f32
//   target  [x.rows()][n]
void AmxMultiplyF32(const AmxF32Rows& x, int64_t n, const std::byte* panels,
                    float* target);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_AMX_F32_H_
