// What a product reads next, asked for bit by bit while it is at work.
#ifndef LAPIDARY_KERNELS_GEMM_AHEAD_H_
#define LAPIDARY_KERNELS_GEMM_AHEAD_H_

#include <cstddef>
#include <cstdint>

namespace lapidary::kernels {

// A share of all with each step, rounded up, so that the last ones may ask for
// what lies behind. Where products take the time, weights are
// asked for by every other line, since the CPU fetches pairs of them into its
// second cache: asking for all takes the vision tower a twentieth longer, and
// asking for none a quarter. (Emerald Rapids.)
class Ahead {
 public:
  enum class Lines : uint8_t { kAll, kEveryOther };

  //   first  null: nothing is asked for
  //   steps  in which all is asked for
  Ahead(const std::byte* first, int64_t bytes, int64_t steps, Lines lines)
      : at_(reinterpret_cast<uintptr_t>(first)),
        apart_(lines == Lines::kAll ? 64 : 128) {
    if (first != nullptr && steps > 0) {
      requests_ = (bytes / apart_ + steps - 1) / steps;
    }
  }

  // For the first cache, or the second.
  __attribute__((always_inline)) void StepToFirst() { Step<3>(); }
  __attribute__((always_inline)) void StepToSecond() { Step<2>(); }

 private:
  template <int kLocality>
  __attribute__((always_inline)) void Step() {
    for (int64_t i = 0; i < requests_; ++i) {
      __builtin_prefetch(reinterpret_cast<const void*>(at_ + i * apart_),
                         /*rw=*/0, kLocality);
    }
    at_ += requests_ * apart_;
  }

  uintptr_t at_;  // goes on behind what is asked for, and maybe all there is
  int64_t apart_;
  int64_t requests_ = 0;  // of each step
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_GEMM_AHEAD_H_
