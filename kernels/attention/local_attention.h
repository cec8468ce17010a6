// Attention of one query to a window of keys that ends at its own position,
// with a learned vector for each distance (gemma3n-audio.md §3.5).
#ifndef LAPIDARY_KERNELS_ATTENTION_LOCAL_ATTENTION_H_
#define LAPIDARY_KERNELS_ATTENTION_LOCAL_ATTENTION_H_

#include <cstdint>

#include "kernels/scratch.h"

namespace lapidary::kernels {

struct LocalAttentionShape {
  int64_t heads = 0;
  int64_t head_dim = 0;
  float logit_cap = 0.0f;  // scores become cap · tanh(score / cap)

  int64_t width() const { return heads * head_dim; }
};

// The window: `count` rows, the oldest first, the query's own last.
struct LocalWindow {
  int64_t count = 0;
  const float* keys = nullptr;       // [count][width]
  const float* values = nullptr;     // [count][width]
  const float* positions = nullptr;  // [≥ count][width], by distance
};

// Per head, out = Σ_j softmax_j(capped score_j) values[j] with
// score_j = Σ_i query[i] · scale[i] · (keys[j][i] + positions[count - 1 -
// j][i]). One thread.
//   query, out  [width]; may be the same
//   scale       [head_dim], of every head
void LocalAttention(const LocalAttentionShape& shape, const float* query,
                    const float* scale, const LocalWindow& window, float* out,
                    Scratch* scratch);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_ATTENTION_LOCAL_ATTENTION_H_
