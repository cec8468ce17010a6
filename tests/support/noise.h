// Numbers that look like weights and activations, the same everywhere.
#ifndef LAPIDARY_TESTS_SUPPORT_NOISE_H_
#define LAPIDARY_TESTS_SUPPORT_NOISE_H_

#include <cstdint>

namespace lapidary::kernels {

// Uniform in [-1, 1).
inline float Noise(int64_t i, uint32_t seed) {
  uint32_t h = static_cast<uint32_t>(i) * 2654435761u + seed * 40503u + 1;
  h = (h ^ (h >> 15)) * 2246822519u;
  h = (h ^ (h >> 13)) * 3266489917u;
  h ^= h >> 16;
  return static_cast<float>(h) / 2147483648.0f - 1;
}

// Nearly normal, of deviation 1.
inline float NormalNoise(int64_t i, uint32_t seed) {
  float sum = 0;
  for (int64_t term = 0; term < 12; ++term) sum += Noise(i * 12 + term, seed);
  return sum / 2;
}

}  // namespace lapidary::kernels

#endif  // LAPIDARY_TESTS_SUPPORT_NOISE_H_
