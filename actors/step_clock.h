// Adds up where the time of steps goes, as the sequencer sees it: waiting for
// rows, on the way, in the stage. Steps that run prompt rows are kept apart
// from those that only decode.
//
//   clock.Batch(!running.empty(), now);   // when the batch may have changed
//   clock.Sent(rows, has_prompt, now);
//   clock.Done(result, now);              // or Lost()
#ifndef LAPIDARY_ACTORS_STEP_CLOCK_H_
#define LAPIDARY_ACTORS_STEP_CLOCK_H_

#include <chrono>
#include <cstdint>
#include <optional>

#include "actors/messages.h"

namespace lapidary {

class StepClock {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Whether there is a sequence that could be in a step. From then on, or from
  // the end of the last step, the time until Sent counts as waiting.
  void Batch(bool occupied, Time now);
  void Sent(int64_t rows, bool has_prompt, Time now);
  void Done(const StepResult& result, Time now);
  // The step will not come back; it is not counted.
  void Lost();

  const StepTotals& prompt_steps() const { return prompt_; }
  const StepTotals& decode_steps() const { return decode_; }

 private:
  StepTotals prompt_, decode_;
  std::optional<Time> waiting_since_;

  struct OnItsWay {
    StepTotals* totals = nullptr;
    int64_t rows = 0;
    int64_t wait = 0;  // nanoseconds
    Time since;
  };
  std::optional<OnItsWay> step_;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_STEP_CLOCK_H_
