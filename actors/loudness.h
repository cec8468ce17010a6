// How loud a sound is as it comes, for those who want to know when a speaker
// has stopped. Blocks of 20 ms count from the sound's beginning.
#ifndef LAPIDARY_ACTORS_LOUDNESS_H_
#define LAPIDARY_ACTORS_LOUDNESS_H_

#include <cmath>
#include <cstdint>

#include "absl/types/span.h"

namespace lapidary {

class Loudness {
 public:
  static constexpr int64_t kBlock = 320;  // samples

  // Blocks whose power is above `db`, of full scale, are loud.
  explicit Loudness(double db = -45) : power_(std::pow(10.0, db / 10)) {}

  void Take(absl::Span<const float> samples) {
    for (const float sample : samples) {
      block_ += double{sample} * sample;
      if (++samples_ % kBlock != 0) continue;
      if (block_ > power_ * kBlock) loud_to_ = samples_;
      block_ = 0;
    }
  }

  // Where the newest loud block ends, in samples; 0: there was none.
  int64_t loud_to() const { return loud_to_; }

 private:
  double power_;
  double block_ = 0;
  int64_t samples_ = 0, loud_to_ = 0;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_LOUDNESS_H_
