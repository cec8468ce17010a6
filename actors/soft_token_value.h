// What a soft token may be made of, wherever it comes from.
#ifndef LAPIDARY_ACTORS_SOFT_TOKEN_VALUE_H_
#define LAPIDARY_ACTORS_SOFT_TOKEN_VALUE_H_

#include <cmath>

namespace lapidary {

// An encoder's are of the size of a norm's scales. From 1e20 on squares of them
// overflow in the decoder, whose answer would be NaN.
inline constexpr float kMaxSoftTokenValue = 1e6f;

// False for a NaN as well.
inline bool IsSoftTokenValue(float value) {
  return std::fabs(value) <= kMaxSoftTokenValue;
}

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_SOFT_TOKEN_VALUE_H_
