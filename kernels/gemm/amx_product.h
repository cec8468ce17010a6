// y = W x for bf16 weights by AMX's tdpbf16ps, for one thread.
//
// oneDNN 2.6 multiplies so too. This kernel adds a row up in the same order
// whatever its company; it brings the next panel of weights into the core's
// second cache while it works on one, since those of the towers lie in the
// third, or in memory; and no number of rows is slow (oneDNN takes three times
// as long for 58 rows as for 64 where n = 1280 and k = 2560).
#ifndef LAPIDARY_KERNELS_GEMM_AMX_PRODUCT_H_
#define LAPIDARY_KERNELS_GEMM_AMX_PRODUCT_H_

#include <cstddef>
#include <cstdint>

#include "kernels/tensor.h"

namespace lapidary::kernels {

// Whether this CPU and Linux allow it.
bool AmxProductUsable();

struct AmxProduct {
  int64_t rows = 0;
  int64_t n = 0, k = 0;
  const std::byte* panels = nullptr;  // [n][k] as panel_layout.h has bf16
  const uint16_t* source = nullptr;   // [rows][k] bf16; nothing beyond is read
  void* target = nullptr;             // [rows][n]; may not alias the source
  DType type = DType::kF32;  // of the target; kBf16 rounds to nearest even
};

// Each output is one sum over k in f32: pairs in ascending order, as the unit
// adds them. It flushes denormal numbers to zero.
void AmxMultiply(const AmxProduct& product);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_AMX_PRODUCT_H_
