// Searches and sums over the logits of a whole vocabulary, by all threads.
//
// A vocabulary is cut into blocks of fixed size whose results are put together
// in order: nothing depends on the number of threads.
#ifndef LAPIDARY_KERNELS_SAMPLING_VOCABULARY_OPS_H_
#define LAPIDARY_KERNELS_SAMPLING_VOCABULARY_OPS_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// The index of the largest logit, the lowest of them if there are several, as
// torch.argmax has it; 0 where logits that are no numbers hide it.
//   logits  at least one
int32_t ArgMax(absl::Span<const float> logits);

// log Σ exp(logits), computed in f64.
//   logits  at least one
double LogSumExp(absl::Span<const float> logits);

// A logit and its id.
using Candidate = std::pair<float, int32_t>;

// All logits that are at least as large as the k-th largest, in the order of
// their ids: more than k where several tie with it. Without those that are no
// numbers.
//   k    at least 1
//   top  is overwritten
void SelectTop(absl::Span<const float> logits, size_t k,
               std::vector<Candidate>* top);

// x = cap · tanh(x / cap), for every row of logits.
void SoftCapRows(float cap, MatrixView logits);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_SAMPLING_VOCABULARY_OPS_H_
