#include "kernels/quant/block_quantizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/half.h"

namespace lapidary::kernels {
namespace {

// What a dtype's codes can be, and how far from the full range to look: the
// largest weight is mapped to full + i · step for |i| ≤ tries. int8 has little
// to gain, since its codes are fine. int4's error on normal weights is 8.4 % by
// the maximum, 8.1 % by these 13 tries and no less by 360.
struct Range {
  float low, high, full, step;
  int tries;
};

constexpr Range kInt8Range = {-127, 127, 127, 1, 2};
constexpr Range kInt4Range = {-8, 7, -8, 0.2f, 6};

constexpr float kMaxHalf = 65504;

// Rounds to the nearest integer, ties to even, for |x| < 2^22; a form that the
// compiler turns into vectors.
inline float RoundToInt(float x) {
  constexpr float kMagic = 0x1.8p23f;
  return (x + kMagic) - kMagic;
}

void Encode(const Range& range, const float* weights, float inverse,
            float* codes) {
  for (int64_t i = 0; i < kQuantBlock; ++i) {
    float code = weights[i] * inverse;
    code = code < range.low ? range.low : code;
    code = code > range.high ? range.high : code;
    codes[i] = RoundToInt(code);
  }
}

// The sum of 32 numbers in a fixed order, which suits vectors of any width.
float Sum(float* terms) {
  for (int64_t half = kQuantBlock / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) terms[i] += terms[i + half];
  }
  return terms[0];
}

float LeastSquaresScale(const float* weights, const float* codes) {
  float products[kQuantBlock], squares[kQuantBlock];
  for (int64_t i = 0; i < kQuantBlock; ++i) {
    products[i] = weights[i] * codes[i];
    squares[i] = codes[i] * codes[i];
  }
  const float square = Sum(squares);
  return square > 0 ? Sum(products) / square : 0;
}

float SquaredError(const float* weights, float scale, const float* codes) {
  float errors[kQuantBlock];
  for (int64_t i = 0; i < kQuantBlock; ++i) {
    const float error = weights[i] - scale * codes[i];
    errors[i] = error * error;
  }
  return Sum(errors);
}

}  // namespace

QuantizedBlock QuantizeBlock(DType dtype, const float* weights) {
  const Range& range = dtype == DType::kInt4 ? kInt4Range : kInt8Range;
  QuantizedBlock best;
  const float peak = *std::max_element(
      weights, weights + kQuantBlock,
      [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  const float zeros[kQuantBlock] = {};
  best.squared_error = SquaredError(weights, 0, zeros);
  for (int i = -range.tries; i <= range.tries; ++i) {
    float codes[kQuantBlock];
    const float mapped = range.full + static_cast<float>(i) * range.step;
    // Infinite for the tiniest of peaks, whose scale fp16 does not hold.
    const float inverse = mapped / peak;
    if (!std::isfinite(inverse)) break;
    Encode(range, weights, inverse, codes);
    const uint16_t half = FloatToHalf(
        std::clamp(LeastSquaresScale(weights, codes), -kMaxHalf, kMaxHalf));
    const float scale = HalfToFloat(half);
    if (scale == 0) continue;
    Encode(range, weights, 1 / scale, codes);
    const float error = SquaredError(weights, scale, codes);
    if (error < best.squared_error) {
      best.scale = half;
      best.squared_error = error;
      std::copy(codes, codes + kQuantBlock, best.codes);
    }
  }
  return best;
}

}  // namespace lapidary::kernels
