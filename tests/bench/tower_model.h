// What the benchmarks of the vision and audio towers share.
#ifndef LAPIDARY_TESTS_BENCH_TOWER_MODEL_H_
#define LAPIDARY_TESTS_BENCH_TOWER_MODEL_H_

#include <functional>
#include <string>

#include "storage/tensor_groups.h"

namespace lapidary {

double Milliseconds(const std::function<void()>& body);
// Of this process, so far.
double PeakMegabytes();

// Packs a random model into `folder`, if it is not there yet: the published
// tower and a decoder as small as can be. Ends the program where that fails.
//   shape  e2b+vision or e2b+audio
void MakeTowerModel(const std::string& folder, const std::string& shape,
                    const PackDTypes& dtypes);

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_BENCH_TOWER_MODEL_H_
