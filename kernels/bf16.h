// bfloat16 as bits: the upper half of an f32, rounded to nearest even.
#ifndef LAPIDARY_KERNELS_BF16_H_
#define LAPIDARY_KERNELS_BF16_H_

#include <cstdint>
#include <cstring>

namespace lapidary::kernels {

inline float Bf16ToFloat(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

// Rounds to nearest, ties to even. A NaN stays a (quiet) NaN.
inline uint16_t FloatToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) {
    return static_cast<uint16_t>((bits >> 16) | 0x40u);
  }
  bits += 0x7FFFu + ((bits >> 16) & 1u);
  return static_cast<uint16_t>(bits >> 16);
}

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_BF16_H_
