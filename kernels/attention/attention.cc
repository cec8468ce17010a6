#include "kernels/attention/attention.h"

#include <algorithm>

#include "kernels/bf16.h"
#include "kernels/simd/row_ops.h"

// Highway compiles this file once for each instruction set; the order counts.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/cache_control.h"
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

// Keys that are scored at once: with four heads their sums fill half of the
// registers, and the sums of all lanes are made by one tree for all of them.
constexpr int kKeysTogether = 4;
constexpr int kSums = 4 * kKeysTogether;

// How many rows ahead of the ones in use to ask for more.
constexpr int64_t kRowsAhead = 8;

// Values of so many positions stay in the L1 cache while their columns are
// summed up, group after group.
constexpr int64_t kBlock = 32;

HWY_INLINE void PrefetchBytes(const std::byte* from, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) hwy::Prefetch(from + at);
}

// The sum of the lanes of each of kSums vectors, neighbours first.
HWY_INLINE void SumLanes(hn::Vec<F>* v, float* sums) {
  const F d;
  int count = kSums;
#if HWY_TARGET != HWY_SCALAR  // which has one lane
  for (size_t width = hn::Lanes(d); width > 1; width /= 2) {
    count /= 2;
    for (int i = 0; i < count; ++i) {
      const auto low = v[2 * i], high = v[2 * i + 1];
      v[i] = hn::Add(hn::ConcatEven(d, high, low), hn::ConcatOdd(d, high, low));
    }
  }
#endif
  for (int i = 0; i < count; ++i) hn::StoreU(v[i], d, sums + i * hn::Lanes(d));
}

// sums[h · kKeysTogether + i] = query_h · key_i for kHeads query heads and
// kKeysTogether keys, `keys[i]` each; what a pair's score is does not depend on
// the others.
template <int kHeads, typename T>
HWY_INLINE void Score(const float* query, const T* const* keys,
                      int64_t head_dim, float* sums) {
  const F d;
  const int64_t lanes = hn::Lanes(d);
  hn::Vec<F> v[kSums];
  for (int i = 0; i < kSums; ++i) v[i] = hn::Zero(d);
  int64_t at = 0;
  for (; at + lanes <= head_dim; at += lanes) {
    hn::Vec<F> k[kKeysTogether];
    for (int i = 0; i < kKeysTogether; ++i) k[i] = Widen(d, keys[i] + at);
    for (int h = 0; h < kHeads; ++h) {
      const auto q = hn::LoadU(d, query + h * head_dim + at);
      for (int i = 0; i < kKeysTogether; ++i) {
        v[h * kKeysTogether + i] =
            hn::MulAdd(q, k[i], v[h * kKeysTogether + i]);
      }
    }
  }
  SumLanes(v, sums);
  for (; at < head_dim; ++at) {
    for (int h = 0; h < kHeads; ++h) {
      for (int i = 0; i < kKeysTogether; ++i) {
        float& sum = sums[h * kKeysTogether + i];
        sum = MulAdd1(query[h * head_dim + at], Widen1(keys[i] + at), sum);
      }
    }
  }
}

// Scores of all keys of `runs`.
//   scores  [kHeads][stride]
template <int kHeads, typename T>
void ScoreRuns(const float* query, absl::Span<const KvRun> runs,
               int64_t kv_head, int64_t head_dim, int64_t stride,
               float* scores) {
  HWY_ALIGN float sums[kSums];
  for (size_t r = 0; r < runs.size(); ++r) {
    const KvRun& run = runs[r];
    if (run.count == 0) continue;
    const T* first =
        reinterpret_cast<const T*>(run.keys) + kv_head * run.head_stride;
    for (int64_t p = 0; p < run.count; p += kKeysTogether) {
      const T* keys[kKeysTogether];
      for (int64_t i = 0; i < kKeysTogether; ++i) {
        keys[i] = first + std::min(p + i, run.count - 1) * run.row_stride;
        const int64_t ahead = p + i + kRowsAhead;
        const T* next = nullptr;
        if (ahead < run.count) {
          next = first + ahead * run.row_stride;
        } else if (r + 1 < runs.size() &&
                   ahead - run.count <
                       std::min<int64_t>(kRowsAhead, runs[r + 1].count)) {
          const KvRun& after = runs[r + 1];
          next = reinterpret_cast<const T*>(after.keys) +
                 kv_head * after.head_stride +
                 (ahead - run.count) * after.row_stride;
        }
        if (next != nullptr) {
          PrefetchBytes(reinterpret_cast<const std::byte*>(next),
                        head_dim * sizeof(T));
        }
      }
      Score<kHeads, T>(query, keys, head_dim, sums);
      const int64_t count = std::min<int64_t>(kKeysTogether, run.count - p);
      for (int h = 0; h < kHeads; ++h) {
        for (int64_t i = 0; i < count; ++i) {
          scores[h * stride + i] = sums[h * kKeysTogether + i];
        }
      }
      scores += count;
    }
  }
}

// Values of a few positions, and those that come after them.
struct Block {
  const std::byte* values;  // of the head, at the first position
  int64_t count;
  int64_t row_stride;
  const std::byte* next;  // null: none
  int64_t next_count;
  int64_t next_stride;
};

// Adds a block to columns [at, at + kVectors vectors) of the context of kHeads
// query heads, position by position, and asks for the same columns of the next.
//   weights  [kHeads][stride]
template <int kHeads, int kVectors, typename T>
HWY_INLINE void AddColumns(const Block& block, int64_t at, int64_t head_dim,
                           int64_t stride, const float* weights,
                           float* context) {
  const F d;
  const int64_t lanes = hn::Lanes(d);
  hn::Vec<F> sums[kHeads][kVectors];
  for (int h = 0; h < kHeads; ++h) {
    for (int v = 0; v < kVectors; ++v) {
      sums[h][v] = hn::LoadU(d, context + h * head_dim + at + v * lanes);
    }
  }
  const T* value = reinterpret_cast<const T*>(block.values) + at;
  const T* next = reinterpret_cast<const T*>(block.next);
  for (int64_t p = 0; p < block.count; ++p, value += block.row_stride) {
    if (p < block.next_count) {
      PrefetchBytes(
          reinterpret_cast<const std::byte*>(next + at + p * block.next_stride),
          kVectors * lanes * sizeof(T));
    }
    hn::Vec<F> columns[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      columns[v] = Widen(d, value + v * lanes);
    }
    for (int h = 0; h < kHeads; ++h) {
      const auto w = hn::Set(d, weights[h * stride + p]);
      for (int v = 0; v < kVectors; ++v) {
        sums[h][v] = hn::MulAdd(w, columns[v], sums[h][v]);
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
void AddTail(int heads, const Block& block, int64_t at, int64_t head_dim,
             int64_t stride, const float* weights, float* context) {
  const T* value = reinterpret_cast<const T*>(block.values);
  for (int h = 0; h < heads; ++h) {
    for (int64_t column = at; column < head_dim; ++column) {
      float sum = context[h * head_dim + column];
      for (int64_t p = 0; p < block.count; ++p) {
        sum = MulAdd1(weights[h * stride + p],
                      Widen1(value + p * block.row_stride + column), sum);
      }
      context[h * head_dim + column] = sum;
    }
  }
}

// context += Σ weight · value over the block's positions.
template <int kHeads, typename T>
void AddBlock(const Block& block, int64_t head_dim, int64_t stride,
              const float* weights, float* context) {
  const int64_t lanes = hn::Lanes(F());
  int64_t at = 0;
  for (; at + 4 * lanes <= head_dim; at += 4 * lanes) {
    AddColumns<kHeads, 4, T>(block, at, head_dim, stride, weights, context);
  }
  for (; at + lanes <= head_dim; at += lanes) {
    AddColumns<kHeads, 1, T>(block, at, head_dim, stride, weights, context);
  }
  if (at < head_dim) {
    AddTail<T>(kHeads, block, at, head_dim, stride, weights, context);
  }
}

template <int kHeads, typename T>
void Attend(const AttentionShape& shape, int64_t kv_head, const float* query,
            absl::Span<const KvRun> runs, int64_t total, float* scores,
            float* context) {
  const int64_t head_dim = shape.head_dim;
  ScoreRuns<kHeads, T>(query, runs, kv_head, head_dim, total, scores);
  for (int h = 0; h < kHeads; ++h) Softmax(total, scores + h * total);
  std::fill(context, context + kHeads * head_dim, 0.0f);
  const float* weights = scores;
  for (size_t r = 0; r < runs.size(); ++r) {
    const auto row = [&](size_t run, int64_t position) {
      const KvRun& of = runs[run];
      return of.values +
             (kv_head * of.head_stride + position * of.row_stride) * sizeof(T);
    };
    for (int64_t p = 0; p < runs[r].count; p += kBlock) {
      const int64_t left = runs[r].count - p;
      Block block{
          row(r, p), std::min(kBlock, left), runs[r].row_stride, nullptr, 0, 0};
      if (left > kBlock) {
        block.next = row(r, p + kBlock);
        block.next_count = left - kBlock;
        block.next_stride = runs[r].row_stride;
      } else if (r + 1 < runs.size() && runs[r + 1].count > 0) {
        block.next = row(r + 1, 0);
        block.next_count = runs[r + 1].count;
        block.next_stride = runs[r + 1].row_stride;
      }
      AddBlock<kHeads, T>(block, head_dim, total, weights, context);
      weights += block.count;
    }
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
    // Four heads fill the registers of AddColumns.
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
