// IEEE half precision (fp16) as bits, rounded to nearest even.
#ifndef LAPIDARY_KERNELS_HALF_H_
#define LAPIDARY_KERNELS_HALF_H_

#include <cstdint>
#include <cstring>

namespace lapidary::kernels {

inline float HalfToFloat(uint16_t half) {
  const uint32_t magnitude = half & 0x7FFFu;
  uint32_t bits = magnitude << 13;
  float value;
  if (magnitude >= 0x7C00u) {
    bits |= 0x7F800000u;  // infinity, NaN
    std::memcpy(&value, &bits, sizeof(value));
  } else {
    std::memcpy(&value, &bits, sizeof(value));
    value *= 0x1p112f;  // the exponents' biases, 127 - 15; exact
  }
  return (half & 0x8000u) != 0 ? -value : value;
}

// Numbers from 65520 on become infinite. A NaN stays a (quiet) NaN.
inline uint16_t FloatToHalf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint32_t sign = (bits >> 16) & 0x8000u;
  uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);
  if (magnitude < 0x38800000u) {
    // Subnormal: 0.5's last bit is worth what a subnormal's is, 2^-24.
    float sum;
    std::memcpy(&sum, &magnitude, sizeof(sum));
    sum += 0.5f;
    std::memcpy(&magnitude, &sum, sizeof(magnitude));
    return static_cast<uint16_t>(sign | (magnitude - 0x3F000000u));
  }
  magnitude += 0xFFFu + ((magnitude >> 13) & 1u) - (112u << 23);
  return static_cast<uint16_t>(sign | (magnitude >> 13));
}

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_HALF_H_
