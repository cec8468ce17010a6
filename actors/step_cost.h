// What a step takes on this machine, learnt from the steps that were run:
//
//   step ≈ decode step of its decoding rows + prompt rows · cost of a row
//
// A decode step reads every weight and hardly depends on its rows; a row of a
// prompt is arithmetic, and attends to all that stands before it. Both are
// medians over the last few steps, so that a step that the machine disturbed
// changes nothing, and a change of pace is known within five steps. Pure; the
// clock is the caller's.
#ifndef LAPIDARY_ACTORS_STEP_COST_H_
#define LAPIDARY_ACTORS_STEP_COST_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace lapidary {

// The median of the last samples.
class RecentMedian {
 public:
  void Add(double value);
  bool empty() const { return values_.empty(); }
  double value() const { return median_; }

 private:
  std::deque<double> values_;
  double median_ = 0;
};

// A line through the last samples that outliers do not bend: its slope is the
// median slope of their pairs (Theil and Sen), at least 0. Samples that lie too
// close together to tell a slope leave the last one standing.
class RecentLine {
 public:
  void Add(double x, double y);
  bool empty() const { return samples_.empty(); }
  // At least a quarter of the samples' median: never 0 by extrapolation.
  double At(double x) const;

 private:
  struct Sample {
    double x, y;
  };
  std::deque<Sample> samples_;
  double slope_ = 0;
  double level_ = 0;   // at x = 0
  double middle_ = 0;  // median y
};

// What rows of a prompt are run for. Scored rows run every layer and the head.
enum class PromptKind : uint8_t { kContinued = 0, kScored = 1 };

// What was in a step.
struct StepShape {
  int64_t decode_rows = 0;
  std::array<int64_t, 2> prompt_rows = {0, 0};  // by PromptKind
  // Mean position of the prompt rows, of both kinds.
  double context = 0;

  int64_t all_prompt_rows() const { return prompt_rows[0] + prompt_rows[1]; }
};

class StepCost {
 public:
  void Learn(const StepShape& shape, int64_t compute_ns);

  // Nanoseconds of a step of `rows` ≥ 1 decoding rows and nothing else. Where
  // so many rows were never measured, that of the nearest smaller number, else
  // of the nearest larger; 0 before the first.
  double DecodeNs(int64_t rows) const;
  // A step without prompt rows would tell something: so many decoding rows were
  // never measured, or long ago.
  bool WantsDecodeStep(int64_t rows) const;

  // Nanoseconds that a prompt row at position `context` adds to a step, beside
  // decoding rows or in a step of prompts alone; each stands in for the other
  // until it was measured. 0 before the first.
  double PromptRowNs(PromptKind kind, double context, bool beside_decode) const;
  // Most prompt rows of the last steps that also decoded; 0 before the first.
  int64_t widest_beside_decode() const;

 private:
  // Steps of 1, 2, 3–4, 5–8, … decoding rows.
  static constexpr size_t kBuckets = 18;
  struct Decode {
    RecentMedian ns;
    uint64_t measured_at = 0;  // value of steps_
  };

  uint64_t steps_ = 0;
  std::array<Decode, kBuckets> decode_;
  // By kind, and alone or beside decoding rows.
  std::array<std::array<RecentLine, 2>, 2> prompt_row_;
  std::deque<int64_t> beside_;  // prompt rows of the last such steps
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_STEP_COST_H_
