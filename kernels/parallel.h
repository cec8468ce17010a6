// The compute threads of this process: one team, whose members share the work
// of whoever calls.
//
//   SetComputeThreads(2);                        // of the calling thread
//   ParallelFor(rows, [&](int64_t row) { … });   // rows are independent
//
// A member that has nothing to do spins for a moment, so that the next piece of
// work finds it awake, and then sleeps: idle costs nothing. A caller that finds
// the team at another's work does its own alone.
#ifndef LAPIDARY_KERNELS_PARALLEL_H_
#define LAPIDARY_KERNELS_PARALLEL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/functional/function_ref.h"

namespace lapidary::kernels {

// The processors that this process may use.
int UsableProcessors();

// How many threads work for the calling thread, itself among them, from now on;
// at least 1. Unless set: UsableProcessors().
void SetComputeThreads(int threads);
int ComputeThreads();

// Keeps the calling thread to the first processor that it may use, and the
// other members each to one of the others, if there are as many processors as
// ComputeThreads(); otherwise does nothing. Unpinned, two members share a
// processor for milliseconds at a time: whoever wakes the other draws it to its
// own. For a thread that does nothing but compute: threads that it started
// afterwards would keep to its processor too.
void PinComputeThreads();

// Calls body(thread, threads) once for each thread in [0, threads), the caller
// being thread 0, and returns when all have returned; what a body throws is
// thrown then. `threads` is ComputeThreads(), or 1: from inside a body of
// several threads, or where the team is at another's work.
void RunTeam(absl::FunctionRef<void(int thread, int threads)> body);

// Bytes that a member is going to read.
struct MemoryPiece {
  const void* data = nullptr;
  size_t size = 0;
};

// Asks the members to bring memory into their caches while the caller works
// alone: piece(i) for member i ≥ 1. A hint: what comes of it is up to the time
// that passes until the next RunTeam, and of several requests one is followed.
// Memory then works on while norms and gates are computed.
void PrefetchWhileIdle(absl::FunctionRef<MemoryPiece(int thread)> piece);

// Calls body(first, last) with ranges that make up [0, count): one for each
// thread, each in one piece, so that a thread reads its part of a matrix front
// to back; alone unless `worth_a_team`.
template <class Body>
void ParallelRanges(int64_t count, bool worth_a_team, const Body& body) {
  if (!worth_a_team || count <= 1) {
    if (count > 0) body(0, count);
    return;
  }
  RunTeam([&](int thread, int threads) {
    const int64_t first = count * thread / threads;
    const int64_t last = count * (thread + 1) / threads;
    if (first < last) body(first, last);
  });
}

// Calls body(i) for i in [0, count), each once, in any order; alone where
// there is one, since waking a team costs more than a row.
template <class Body>
void ParallelFor(int64_t count, const Body& body) {
  ParallelRanges(count, count > 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) body(i);
  });
}

// Calls body(i) for i in [0, count), each once: every thread goes through a
// range of its own front to back, as in ParallelRanges, and then helps with
// what is left of the others'. For work whose threads, though it is dealt out
// evenly, do not end together, since memory does not serve them evenly.
void ParallelChunks(int64_t count, absl::FunctionRef<void(int64_t)> body);
// Where `thread` begins.
int64_t FirstChunk(int64_t count, int thread);

// As ParallelChunks, but a thread's own are `thread`, `thread` + threads, and
// so on; alone where there is one. For tasks that take turns with operands:
// what a thread's last task has left in its cache, its next one wants.
void ParallelStripes(int64_t count,
                     absl::FunctionRef<void(int thread, int64_t i)> body);

// Calls body(thread, i) for i in [0, count), each once, whichever thread is
// free next: for tasks of uneven length.
template <class Body>
void ParallelTasks(int64_t count, const Body& body) {
  if (count <= 1) {
    if (count > 0) body(0, 0);
    return;
  }
  std::atomic<int64_t> next{0};
  RunTeam([&](int thread, int /*threads*/) {
    for (int64_t i;
         (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      body(thread, i);
    }
  });
}

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_PARALLEL_H_
