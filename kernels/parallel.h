// Loops over independent rows, by the threads of the caller's OpenMP team.
#ifndef LAPIDARY_KERNELS_PARALLEL_H_
#define LAPIDARY_KERNELS_PARALLEL_H_

#include <omp.h>

#include <cstdint>

namespace lapidary::kernels {

// Calls body(i) for i in [0, count), each once, in any order; alone where
// there is one row, since waking a team costs more than a row.
template <class Body>
void ParallelFor(int64_t count, const Body& body) {
#pragma omp parallel for schedule(static) if (count > 1)
  for (int64_t i = 0; i < count; ++i) body(i);
}

// Calls body(first, last) with ranges that make up [0, count): one for each
// thread, each in one piece, so that a thread reads its part of a matrix front
// to back; alone unless `worth_a_team`.
template <class Body>
void ParallelRanges(int64_t count, bool worth_a_team, const Body& body) {
#pragma omp parallel if (worth_a_team && count > 1)
  {
    const int64_t threads = omp_get_num_threads();
    const int64_t thread = omp_get_thread_num();
    const int64_t first = count * thread / threads;
    const int64_t last = count * (thread + 1) / threads;
    if (first < last) body(first, last);
  }
}

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_PARALLEL_H_
