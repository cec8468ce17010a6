#include "kernels/attention/local_attention.h"

#include "kernels/simd/row_ops.h"

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/local_attention.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "kernels/simd/for_each_vector-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Σ query_i (key_i + position_i)
HWY_INLINE float Score(const float* query, const float* key,
                       const float* position, int64_t n) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = hn::Lanes(d);
  auto s0 = hn::Zero(d), s1 = hn::Zero(d);
  const auto add = [&](int64_t i, auto sum) {
    const auto k = hn::Add(hn::LoadU(d, key + i), hn::LoadU(d, position + i));
    return hn::MulAdd(hn::LoadU(d, query + i), k, sum);
  };
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    s0 = add(i, s0);
    s1 = add(i + lanes, s1);
  }
  for (; i + lanes <= n; i += lanes) s0 = add(i, s0);
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  for (; i < n; ++i) sum += query[i] * (key[i] + position[i]);
  return sum;
}

//   query   [head_dim], scaled
//   scores  [count], written
void HeadScoresTarget(const LocalAttentionShape& shape, int64_t head,
                      const float* query, const LocalWindow& window,
                      float* scores) {
  const int64_t at = head * shape.head_dim;
  for (int64_t j = 0; j < window.count; ++j) {
    const int64_t distance = window.count - 1 - j;
    scores[j] =
        Score(query, window.keys + j * shape.width() + at,
              window.positions + distance * shape.width() + at, shape.head_dim);
  }
}

void MixValuesTarget(const LocalAttentionShape& shape, int64_t head,
                     const float* weights, const LocalWindow& window,
                     float* out) {
  const float* values = window.values + head * shape.head_dim;
  ForEachVector(shape.head_dim, [&](auto d, int64_t i) {
    auto sum = hn::Zero(d);
    for (int64_t j = 0; j < window.count; ++j) {
      sum = hn::MulAdd(hn::Set(d, weights[j]),
                       hn::LoadU(d, values + j * shape.width() + i), sum);
    }
    hn::StoreU(sum, d, out + head * shape.head_dim + i);
  });
}

void ScaleQueryTarget(const float* query, const float* scale, int64_t n,
                      float* out) {
  ForEachVector(n, [&](auto d, int64_t i) {
    hn::StoreU(hn::Mul(hn::LoadU(d, query + i), hn::LoadU(d, scale + i)), d,
               out + i);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(HeadScoresTarget);
HWY_EXPORT(MixValuesTarget);
HWY_EXPORT(ScaleQueryTarget);

void LocalAttention(const LocalAttentionShape& shape, const float* query,
                    const float* scale, const LocalWindow& window, float* out,
                    Scratch* scratch) {
  float* scaled =
      scratch->Room<float>(shape.head_dim + shape.heads * window.count);
  float* scores = scaled + shape.head_dim;
  for (int64_t head = 0; head < shape.heads; ++head) {
    HWY_DYNAMIC_DISPATCH(ScaleQueryTarget)
    (query + head * shape.head_dim, scale, shape.head_dim, scaled);
    HWY_DYNAMIC_DISPATCH(HeadScoresTarget)
    (shape, head, scaled, window, scores + head * window.count);
  }
  SoftCap(shape.logit_cap, shape.heads * window.count, scores);
  for (int64_t head = 0; head < shape.heads; ++head) {
    float* weights = scores + head * window.count;
    Softmax(window.count, weights);
    HWY_DYNAMIC_DISPATCH(MixValuesTarget)(shape, head, weights, window, out);
  }
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
