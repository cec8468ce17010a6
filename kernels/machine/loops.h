// The loops that peaks.h times. Each does its work `passes` times and returns
// something of the result, so that no compiler can leave it out.
#ifndef LAPIDARY_KERNELS_MACHINE_LOOPS_H_
#define LAPIDARY_KERNELS_MACHINE_LOOPS_H_

#include <cstddef>
#include <cstdint>

namespace lapidary::kernels {

// Reads [data, data + bytes), `bytes` a multiple of kReadGrain.
inline constexpr size_t kReadGrain = 16384;
uint64_t ReadAll(const std::byte* data, size_t bytes);

struct ArithmeticLoop {
  const char* instruction = "";
  double operations_per_pass = 0;
  uint64_t (*run)(int64_t passes) = nullptr;
};

// The widest vectors of this CPU.
ArithmeticLoop FloatLoop();
// `run` is null where the CPU has no such instruction.
ArithmeticLoop Bf16DotLoop();
ArithmeticLoop ByteDotLoop();

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_MACHINE_LOOPS_H_
