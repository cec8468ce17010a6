// A loop over independent rows, by the threads of the caller's OpenMP team.
#ifndef LAPIDARY_KERNELS_PARALLEL_H_
#define LAPIDARY_KERNELS_PARALLEL_H_

#include <cstdint>

namespace lapidary::kernels {

// Calls body(i) for i in [0, count), each once, in any order; alone where
// there is one row, since waking a team costs more than a row.
template <class Body>
void ParallelFor(int64_t count, const Body& body) {
#pragma omp parallel for schedule(static) if (count > 1)
  for (int64_t i = 0; i < count; ++i) body(i);
}

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_PARALLEL_H_
