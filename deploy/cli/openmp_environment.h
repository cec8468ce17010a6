// OpenMP's settings that can be made only before a program starts.
#ifndef LAPIDARY_DEPLOY_CLI_OPENMP_ENVIRONMENT_H_
#define LAPIDARY_DEPLOY_CLI_OPENMP_ENVIRONMENT_H_

namespace lapidary::cli {

// Shortens how long a thread of the compute team spins at a barrier before it
// sleeps, unless the environment says something about it. With libgomp's own
// default (15 times as long) a team on a machine with other work keeps spinning
// on the very processor that its missing member waits for. Measured with nano
// on 2 cores under a load of 6: a first token, 2 ms undisturbed, took up to 2.8
// s with the default, up to 0.45 s with this, and always 3 to 14 ms with
// OMP_WAIT_POLICY=passive, which in exchange sleeps and wakes at every barrier.
//
// libgomp reads the environment while the program is loaded, so this starts the
// program again, once, and returns only the second time (or where it cannot).
// First thing in main().
void LimitOpenMpSpinning(char** argv);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_OPENMP_ENVIRONMENT_H_
