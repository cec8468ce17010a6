// y = W x for bf16 weights by AMX's tdpbf16ps, for one thread.
//
// oneDNN 2.6 multiplies so too. This kernel adds a row up in the same order
// whatever its company; it brings the next weights into the core's second cache
// while it works on some, since those of the towers lie in the third, or in
// memory; long sums are cut so that both operands come from a near cache; and
// no number of rows is slow (oneDNN takes three times as long for 58 rows as
// for 64 where n = 1280 and k = 2560).
#ifndef LAPIDARY_KERNELS_GEMM_AMX_PRODUCT_H_
#define LAPIDARY_KERNELS_GEMM_AMX_PRODUCT_H_

#include <cstddef>
#include <cstdint>

#include "kernels/tensor.h"

namespace lapidary::kernels {

// Whether this CPU and Linux allow it.
bool AmxProductUsable();

// What a tile register holds: inputs come in tiles of 16 rows by 32 columns.
inline constexpr int64_t kAmxRows = 16;
inline constexpr int64_t kAmxColumns = 32;

// Where bf16 inputs are.
struct AmxInputs {
  const std::byte* data = nullptr;
  int64_t rows = 0, k = 0;
  // From a row of a tile to the next, from a tile to the one with the next
  // columns, and to the one with the next rows.
  int64_t row_bytes = 0, columns_bytes = 0, rows_bytes = 0;
  bool padded = false;  // zeros follow k to the end of its last step; otherwise
                        // nothing beyond k is read

  // Rows one after another; faster, where they are made for it: amx_rows.h.
  //   source  [rows][k]
  static AmxInputs Plain(const uint16_t* source, int64_t rows, int64_t k) {
    return {reinterpret_cast<const std::byte*>(source),
            rows,
            k,
            /*row_bytes=*/2 * k,
            /*columns_bytes=*/2 * kAmxColumns,
            /*rows_bytes=*/2 * k * kAmxRows};
  }
};

struct AmxProduct {
  AmxInputs inputs;
  int64_t n = 0;
  const std::byte* panels = nullptr;  // [n][k] as panel_layout.h has bf16
  void* target = nullptr;             // [rows][n]; may not alias the inputs
  DType type = DType::kF32;  // of the target; kBf16 rounds to nearest even
};

// Each output is one sum over k in f32: pairs in ascending order, as the unit
// adds them. It flushes denormal numbers to zero.
void AmxMultiply(const AmxProduct& product);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_AMX_PRODUCT_H_
