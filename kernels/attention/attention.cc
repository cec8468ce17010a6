#include "kernels/attention/attention.h"

#include <algorithm>

#include "kernels/bf16.h"
#include "kernels/simd/row_ops.h"

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace lapidary::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using One = hn::CappedTag<float, 1>;

HWY_INLINE hn::Vec<F> Widen(F d, const float* p) { return hn::LoadU(d, p); }

HWY_INLINE hn::Vec<F> Widen(F d, const uint16_t* p) {
  const hn::RebindToUnsigned<F> du;
  const hn::Rebind<uint16_t, F> d16;
  return hn::BitCast(d,
                     hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, p))));
}

HWY_INLINE float Widen1(const float* p) { return *p; }
HWY_INLINE float Widen1(const uint16_t* p) { return Bf16ToFloat(*p); }

// a b + sum for one element, as the vectors have it. A plain expression would
// leave it to the compiler whether that rounds once or twice, and it chooses
// otherwise in a loop's unrolled part than in its rest.
HWY_INLINE float MulAdd1(float a, float b, float sum) {
  const One d;
  return hn::GetLane(hn::MulAdd(hn::Set(d, a), hn::Set(d, b), hn::Set(d, sum)));
}

// scores[h · stride] = query_h · key for kHeads query heads at once, so that a
// key is loaded once.
template <int kHeads, typename T>
HWY_INLINE void Score(const float* query, const T* key, int64_t head_dim,
                      int64_t stride, float* scores) {
  const F d;
  const int64_t lanes = hn::Lanes(d);
  hn::Vec<F> sums[kHeads];
  for (int h = 0; h < kHeads; ++h) sums[h] = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= head_dim; i += lanes) {
    const auto k = Widen(d, key + i);
    for (int h = 0; h < kHeads; ++h) {
      sums[h] = hn::MulAdd(hn::LoadU(d, query + h * head_dim + i), k, sums[h]);
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    float sum = hn::GetLane(hn::SumOfLanes(d, sums[h]));
    for (int64_t j = i; j < head_dim; ++j) {
      sum = MulAdd1(query[h * head_dim + j], Widen1(key + j), sum);
    }
    scores[h * stride] = sum;
  }
}

// Columns [at, at + kVectors vectors) of the context of kHeads query heads,
// held in registers over all positions.
template <int kHeads, int kVectors, typename T>
HWY_INLINE void SumColumns(absl::Span<const KvRun> runs, int64_t kv_width,
                           int64_t offset, int64_t at, int64_t head_dim,
                           int64_t stride, const float* weights,
                           float* context) {
  const F d;
  const int64_t lanes = hn::Lanes(d);
  hn::Vec<F> sums[kHeads][kVectors];
  for (int h = 0; h < kHeads; ++h) {
    for (int v = 0; v < kVectors; ++v) sums[h][v] = hn::Zero(d);
  }
  const float* weight = weights;
  for (const KvRun& run : runs) {
    const T* value = reinterpret_cast<const T*>(run.values) + offset + at;
    for (int64_t p = 0; p < run.count; ++p, ++weight, value += kv_width) {
      hn::Vec<F> columns[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        columns[v] = Widen(d, value + v * lanes);
      }
      for (int h = 0; h < kHeads; ++h) {
        const auto w = hn::Set(d, weight[h * stride]);
        for (int v = 0; v < kVectors; ++v) {
          sums[h][v] = hn::MulAdd(w, columns[v], sums[h][v]);
        }
      }
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(sums[h][v], d, context + h * head_dim + at + v * lanes);
    }
  }
}

// The columns that fill no vector.
template <typename T>
void SumTail(int heads, absl::Span<const KvRun> runs, int64_t kv_width,
             int64_t offset, int64_t at, int64_t head_dim, int64_t stride,
             const float* weights, float* context) {
  for (int h = 0; h < heads; ++h) {
    for (int64_t column = at; column < head_dim; ++column) {
      const float* weight = weights + h * stride;
      float sum = 0;
      for (const KvRun& run : runs) {
        const T* value =
            reinterpret_cast<const T*>(run.values) + offset + column;
        for (int64_t p = 0; p < run.count; ++p) {
          sum = MulAdd1(*weight++, Widen1(value + p * kv_width), sum);
        }
      }
      context[h * head_dim + column] = sum;
    }
  }
}

template <int kHeads, typename T>
void Attend(const AttentionShape& shape, int64_t kv_head, const float* query,
            absl::Span<const KvRun> runs, int64_t total, float* scores,
            float* context) {
  const int64_t head_dim = shape.head_dim;
  const int64_t kv_width = shape.kv_width();
  const int64_t offset = kv_head * head_dim;
  float* score = scores;
  for (const KvRun& run : runs) {
    const T* key = reinterpret_cast<const T*>(run.keys) + offset;
    for (int64_t p = 0; p < run.count; ++p, ++score) {
      Score<kHeads, T>(query, key + p * kv_width, head_dim, total, score);
    }
  }
  for (int h = 0; h < kHeads; ++h) Softmax(total, scores + h * total);
  const int64_t lanes = hn::Lanes(F());
  int64_t at = 0;
  for (; at + 4 * lanes <= head_dim; at += 4 * lanes) {
    SumColumns<kHeads, 4, T>(runs, kv_width, offset, at, head_dim, total,
                             scores, context);
  }
  for (; at + lanes <= head_dim; at += lanes) {
    SumColumns<kHeads, 1, T>(runs, kv_width, offset, at, head_dim, total,
                             scores, context);
  }
  if (at < head_dim) {
    SumTail<T>(kHeads, runs, kv_width, offset, at, head_dim, total, scores,
               context);
  }
}

template <typename T>
void AttendGroup(const AttentionShape& shape, int64_t kv_head,
                 const float* query, absl::Span<const KvRun> runs,
                 float* scores, float* context) {
  int64_t total = 0;
  for (const KvRun& run : runs) total += run.count;
  for (int64_t head = 0; head < shape.group();) {
    const float* q = query + head * shape.head_dim;
    float* s = scores + head * total;
    float* c = context + head * shape.head_dim;
    // Four heads fill the registers of SumColumns.
    switch (std::min<int64_t>(4, shape.group() - head)) {
      case 4:
        Attend<4, T>(shape, kv_head, q, runs, total, s, c);
        head += 4;
        break;
      case 3:
        Attend<3, T>(shape, kv_head, q, runs, total, s, c);
        head += 3;
        break;
      case 2:
        Attend<2, T>(shape, kv_head, q, runs, total, s, c);
        head += 2;
        break;
      default:
        Attend<1, T>(shape, kv_head, q, runs, total, s, c);
        head += 1;
        break;
    }
  }
}

void AttendGroupF32(const AttentionShape& shape, int64_t kv_head,
                    const float* query, absl::Span<const KvRun> runs,
                    float* scores, float* context) {
  AttendGroup<float>(shape, kv_head, query, runs, scores, context);
}

void AttendGroupBf16(const AttentionShape& shape, int64_t kv_head,
                     const float* query, absl::Span<const KvRun> runs,
                     float* scores, float* context) {
  AttendGroup<uint16_t>(shape, kv_head, query, runs, scores, context);
}

}  // namespace HWY_NAMESPACE
}  // namespace lapidary::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lapidary::kernels {

HWY_EXPORT(AttendGroupF32);
HWY_EXPORT(AttendGroupBf16);

void AttendHeadGroup(const AttentionShape& shape, int64_t kv_head,
                     const float* query, absl::Span<const KvRun> runs,
                     float* scores, float* context) {
  if (shape.kv_dtype == DType::kBf16) {
    HWY_DYNAMIC_DISPATCH(AttendGroupBf16)
    (shape, kv_head, query, runs, scores, context);
  } else {
    HWY_DYNAMIC_DISPATCH(AttendGroupF32)
    (shape, kv_head, query, runs, scores, context);
  }
}

}  // namespace lapidary::kernels
#endif  // HWY_ONCE
