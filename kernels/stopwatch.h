// Adds the time of a scope to a counter.
#ifndef LAPIDARY_KERNELS_STOPWATCH_H_
#define LAPIDARY_KERNELS_STOPWATCH_H_

#include <chrono>
#include <cstdint>

namespace lapidary::kernels {

class Stopwatch {
 public:
  explicit Stopwatch(int64_t* nanoseconds)
      : nanoseconds_(nanoseconds), start_(Clock::now()) {}
  ~Stopwatch() {
    *nanoseconds_ += std::chrono::duration_cast<std::chrono::nanoseconds>(
                         Clock::now() - start_)
                         .count();
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  int64_t* nanoseconds_;
  Clock::time_point start_;
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_STOPWATCH_H_
