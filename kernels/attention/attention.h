// Attention of one query position over keys and values that lie in pieces:
// pages of the cache, and the rows that this step has just made.
//
// The scores of all visible keys are kept, then one softmax, then one weighted
// sum in the order of positions: the result depends on the keys alone, not on
// where the pieces are cut.
#ifndef LAPIDARY_KERNELS_ATTENTION_ATTENTION_H_
#define LAPIDARY_KERNELS_ATTENTION_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// Keys and values of consecutive positions, `count` of them: head h of position
// p is head_dim elements at h · head_stride + p · row_stride.
struct KvRun {
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
  int64_t count = 0;
  int64_t row_stride = 0;   // in elements
  int64_t head_stride = 0;  // likewise
};

struct AttentionShape {
  DType kv_dtype = DType::kF32;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;

  int64_t group() const { return num_attention_heads / num_key_value_heads; }
};

// The query heads of one key-value head at one position. Scores are q · k
// without a scale: Gemma 3n's q_norm and k_norm carry it.
//   query    [group][head_dim]
//   runs     visible keys, oldest first; at least one position in all
//   scores   scratch, [group][total positions of runs]
//   context  [group][head_dim]
void AttendHeadGroup(const AttentionShape& shape, int64_t kv_head,
                     const float* query, absl::Span<const KvRun> runs,
                     float* scores, float* context);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_ATTENTION_ATTENTION_H_
