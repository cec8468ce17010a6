// What this machine can do at most, measured now: the yardsticks that a
// benchmark's figures are held against. Each takes about a tenth of a second,
// on threads of its own.
#ifndef LAPIDARY_KERNELS_MACHINE_PEAKS_H_
#define LAPIDARY_KERNELS_MACHINE_PEAKS_H_

#include <cstddef>

#include "kernels/tensor.h"

namespace lapidary::kernels {

// Bytes per second at which `threads` threads read `bytes` bytes, each a part
// in one piece. Median of several reads, after one that brings the pages in.
// `data` is 64-byte aligned.
double MeasureReadRate(const std::byte* data, size_t bytes, int threads);

struct ArithmeticPeak {
  const char* instruction = "";
  double per_second = 0;  // multiplications and additions
};

// The most that `threads` threads can multiply and add in registers with the
// instruction that suits weights of `dtype`: f32 for kF32; the bf16 dot product
// for kBf16, f32 where the CPU has none; the byte dot product for kInt8 and
// kInt4.
ArithmeticPeak MeasureArithmeticPeak(DType dtype, int threads);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_MACHINE_PEAKS_H_
