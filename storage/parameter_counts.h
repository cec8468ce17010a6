// How many parameters a model has, by what they are for.
#ifndef LAPIDARY_STORAGE_PARAMETER_COUNTS_H_
#define LAPIDARY_STORAGE_PARAMETER_COUNTS_H_

#include <cstdint>

namespace lapidary {

// Parameters by group, as the checkpoint holds them.
struct ParameterCounts {
  int64_t text = 0;    // without the PLE table
  int64_t ple = 0;     // embed_tokens_per_layer
  int64_t vision = 0;  // tower and embedder
  int64_t audio = 0;

  int64_t total() const { return text + ple + vision + audio; }
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_PARAMETER_COUNTS_H_
