// What the model's arithmetic and memory traffic come to, by the config alone:
// the limits that a benchmark holds its figures against.
#ifndef LAPIDARY_KERNELS_TEXT_COST_H_
#define LAPIDARY_KERNELS_TEXT_COST_H_

#include <cstdint>

#include "kernels/tensor.h"
#include "kernels/text/config.h"

namespace lapidary::kernels::text {

// Multiplications and additions of all dense products, scores and sums of
// values over keys for a prompt of `tokens` tokens whose last position alone
// has logits. `trim_prefill` as in TextBatch. A layer whose activations are
// sparse counts as dense.
double PromptOperations(const TextConfig& config, int64_t tokens,
                        bool trim_prefill);

// The same for one row at `position`, with logits.
double TokenOperations(const TextConfig& config, int64_t position);

// Bytes of keys and values that the row at `position` reads, in all layers.
double KvBytesRead(const TextConfig& config, int64_t position, DType kv_dtype);

}  // namespace lapidary::kernels::text

#endif  // LAPIDARY_KERNELS_TEXT_COST_H_
