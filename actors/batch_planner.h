// Which rows the next step runs: one for every sequence that is decoding, and
// prompt chunks in what room is left.
//
// Decoding goes first, so that running answers keep their pace; prompts that
// wait share the room equally, so that a long one does not hold up a short one.
// No sequence waits for ever: room for prompts is always left, and what does
// not divide evenly goes to another prompt at each step.
#ifndef LAPIDARY_ACTORS_BATCH_PLANNER_H_
#define LAPIDARY_ACTORS_BATCH_PLANNER_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace lapidary {

// A sequence that could join the step.
struct Candidate {
  bool decoding = false;
  // Rows whose PLE rows have arrived; 0 or 1 while decoding.
  int64_t ready_rows = 0;
};

struct BatchLimits {
  int64_t max_rows = 512;
  // Prompt rows in a step that also decodes: bounds how long the next token of
  // a running answer can take.
  int64_t prompt_rows_beside_decode = 256;
};

// Rows for each candidate, in [0, ready_rows]. `turn` is the step's number.
std::vector<int64_t> PlanStep(absl::Span<const Candidate> candidates,
                              const BatchLimits& limits, uint64_t turn);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_BATCH_PLANNER_H_
