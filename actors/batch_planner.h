// Which rows the next step runs: one for every sequence that is decoding, and
// chunks of prompts in what is left.
//
// Nobody decodes: prompts fill the step. Else the step may take so many times
// what it would take without prompts (`max_slowdown`), by the costs that were
// measured, and never so little that prompts starve; where more requests wait
// for their first token than decode, as many times longer, since a step that is
// short for the few is a long wait for the many. The answers do not depend on
// where a prompt is cut.
//
// Prompts share their rows by weight: each chunk goes to whoever had least, so
// that a long one does not hold up a short one, and nobody waits for ever.
#ifndef LAPIDARY_ACTORS_BATCH_PLANNER_H_
#define LAPIDARY_ACTORS_BATCH_PLANNER_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "actors/step_cost.h"

namespace lapidary {

// A sequence that could join the step.
struct Candidate {
  bool decoding = false;
  // Rows whose PLE rows have arrived; 0 or 1 while decoding.
  int64_t ready_rows = 0;
  // Of a prompt: what for, rows that were run before, and what it was served so
  // far, in rows; each row that it gets now counts `row_charge`, which is less
  // for those who are to get more.
  PromptKind kind = PromptKind::kContinued;
  int64_t position = 0;
  int64_t served = 0;
  int64_t row_charge = 1;
};

struct BatchLimits {
  int64_t max_rows = 512;
  // How many times longer a step may take for the prompts in it, ≥ 1, while
  // there are not more of them than running answers: the pace of running
  // answers while prompts arrive, at the cost of the prompts'. Single steps
  // vary: with 2, one time between tokens in a hundred comes to 3.
  double max_slowdown = 2;
};

// Kernels work in blocks of so many rows: a step of whole ones wastes nothing.
inline constexpr int64_t kRowBlock = 16;
// Prompt rows in a step that also decodes: at least so many whatever the costs
// are (four decoding rows and twelve of a prompt are a block), and at most so
// many before any are known.
inline constexpr int64_t kFewestPromptRows = kRowBlock / 2;
inline constexpr int64_t kFirstPromptRows = 64;

// Rows for each candidate, in [0, ready_rows].
std::vector<int64_t> PlanStep(absl::Span<const Candidate> candidates,
                              const BatchLimits& limits, const StepCost& cost);

// What the cost model is told of such a step.
StepShape ShapeOf(absl::Span<const Candidate> candidates,
                  absl::Span<const int64_t> rows);

// Nanoseconds that `rows` rows of prompts take in their share of each step,
// beside `decode_rows` ≥ 0 decoding rows; 0 while nothing is known.
double PromptNs(PromptKind kind, int64_t rows, int64_t decode_rows,
                const BatchLimits& limits, const StepCost& cost);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_BATCH_PLANNER_H_
