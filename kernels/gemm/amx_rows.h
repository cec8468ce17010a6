// Rows of bf16 inputs in the order that suits the AMX product best: in pieces
// of a tile register, whose rows lie side by side. Where a wide matrix's rows
// follow one another, a register's share a few sets of the first cache.
//
//   [rows, 16 at a time][k, 32 at a time][16][32] bf16; zeros behind k
#ifndef LAPIDARY_KERNELS_GEMM_AMX_ROWS_H_
#define LAPIDARY_KERNELS_GEMM_AMX_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/gemm/amx_product.h"

namespace lapidary::kernels {

// Rows in memory that somebody else owns.
class AmxRows {
 public:
  // Of so many rows, in whole tiles; for a multiple of kAmxRows also where the
  // next row's tile begins.
  static size_t Bytes(int64_t rows, int64_t k);

  //   data  Bytes(rows, k), 64-byte aligned
  AmxRows(int64_t rows, int64_t k, std::byte* data);

  // Writes columns [column, column + count) of a row, rounded to nearest even.
  // `column` is a multiple of kAmxColumns, and so is `count`, or the row ends
  // there.
  void Put(int64_t row, int64_t column, const float* values,
           int64_t count) const;

  // To multiply.
  AmxInputs inputs() const;

 private:
  int64_t rows_, k_;
  std::byte* data_;
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_AMX_ROWS_H_
