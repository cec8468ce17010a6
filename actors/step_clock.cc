#include "actors/step_clock.h"

namespace lapidary {
namespace {

int64_t Nanoseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::nanoseconds(duration).count();
}

}  // namespace

void StepClock::Batch(bool occupied, Time now) {
  if (!occupied) {
    waiting_since_.reset();
  } else if (!waiting_since_.has_value() && !step_.has_value()) {
    waiting_since_ = now;
  }
}

void StepClock::Sent(int64_t rows, bool has_prompt, Time now) {
  OnItsWay step;
  step.totals = has_prompt ? &prompt_ : &decode_;
  step.rows = rows;
  if (waiting_since_.has_value()) {
    step.wait = Nanoseconds(now - *waiting_since_);
    waiting_since_.reset();
  }
  step.since = now;
  step_ = step;
}

void StepClock::Done(const StepResult& result, Time now) {
  if (!step_.has_value()) return;
  StepTotals& totals = *step_->totals;
  ++totals.steps;
  totals.rows += step_->rows;
  totals.wait_ns += step_->wait;
  totals.round_trip_ns += Nanoseconds(now - step_->since);
  totals.compute_ns += result.compute_ns;
  totals.stage.gemm_ns += result.times.gemm_ns;
  totals.stage.attention_ns += result.times.attention_ns;
  totals.stage.head_ns += result.times.head_ns;
  totals.stage.sampling_ns += result.times.sampling_ns;
  step_.reset();
  waiting_since_ = now;
}

void StepClock::Lost() { step_.reset(); }

}  // namespace lapidary
