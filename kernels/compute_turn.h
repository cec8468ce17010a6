// Whose turn it is to compute: the team (parallel.h) is one, and its callers
// may be several (a decoder, a vision tower).
//
//   for (bool more = true; more;) {
//     const ComputeTurn turn;
//     more = tower.Step();
//   }
//
// Turns are given in the order in which they are asked for, process-wide, so
// that of two who compute in slices each waits for one slice of the other's at
// most. Whoever has a turn must not ask for another.
#ifndef LAPIDARY_KERNELS_COMPUTE_TURN_H_
#define LAPIDARY_KERNELS_COMPUTE_TURN_H_

namespace lapidary::kernels {

// Waits for its turn when it is made, and passes it on when it goes.
class ComputeTurn {
 public:
  ComputeTurn();
  ~ComputeTurn();
  ComputeTurn(const ComputeTurn&) = delete;
  ComputeTurn& operator=(const ComputeTurn&) = delete;
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_COMPUTE_TURN_H_
