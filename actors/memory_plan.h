// How a node divides the memory that it may take.
//
//   auto plan = PlanMemory(facts, wishes);
//   // plan->kv_bytes, plan->max_batch_rows, … never more than was wished for
//
// Weights and the programs themselves take what they take. What remains goes
// first to what serving needs at all, then to one sequence of 4,096 positions
// and steps of 32 rows, then to what was wished for.
#ifndef LAPIDARY_ACTORS_MEMORY_PLAN_H_
#define LAPIDARY_ACTORS_MEMORY_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/attention/kv_cache.h"
#include "kernels/text/config.h"
#include "storage/image.h"
#include "storage/ple_row.h"

namespace lapidary {

// Of the model.
struct MemoryFacts {
  kernels::text::TextConfig config;
  kernels::KvLayout kv_layout;
  PleTableShape ple;
  uint64_t weight_bytes = 0;  // of the text model
  // What they take beside it.
  uint64_t image_bytes = 0;
  uint64_t sound_bytes = 0;
};

struct MemoryWishes {
  uint64_t limit = 0;      // bytes of the whole process; 0: none
  const char* flag = "";   // where the limit comes from, for messages
  uint64_t kv_bytes = 0;   // most for keys and values
  uint64_t ple_cache = 0;  // most for the PLE table's block cache
  int64_t max_batch_rows = 0;
  int64_t max_running = 0;
  int64_t threads = 1;
};

struct MemoryPlan {
  uint64_t limit = 0;
  // Bytes; they add up to `limit` or less where there is one.
  uint64_t weights = 0;  // of the text model
  uint64_t images = 0;
  uint64_t sounds = 0;
  uint64_t kv_bytes = 0;
  uint64_t ple_cache = 0;
  uint64_t ple_rows = 0;    // rows of prompts, read ahead of their steps
  uint64_t work_space = 0;  // of the largest step
  uint64_t runtime = 0;     // code, stacks, gRPC, RocksDB, messages

  int64_t max_batch_rows = 0;
  int64_t head_rows = 0;  // logits that are held at once
  int64_t max_running = 0;
  int64_t prompt_rows_ahead = 0;

  uint64_t Total() const {
    return weights + images + sounds + kv_bytes + ple_cache + ple_rows +
           work_space + runtime;
  }
};

// What images take beside the text model.
struct ImageMemory {
  uint64_t tower_bytes = 0;  // weights and work space
  uint64_t cache_bytes = 0;  // known images
  bool decodes = false;      // one image at a time
};

// Errors: RESOURCE_EXHAUSTED with the smallest limit that works.
absl::StatusOr<MemoryPlan> PlanMemory(const MemoryFacts& facts,
                                      const MemoryWishes& wishes);

// As PlanMemory, which also finds facts.image_bytes. Under a limit the largest
// images make room: decoding one may take an eighth of the limit, or less if
// that is not there; images of a million pixels are decoded in any case.
// Sets limits->max_pixels.
absl::StatusOr<MemoryPlan> PlanMemoryWithImages(MemoryFacts facts,
                                                const MemoryWishes& wishes,
                                                const ImageMemory& images,
                                                ImageLimits* limits);

// "limit=1600000000 weights=… kv=…", for the log.
std::string MemoryPlanText(const MemoryPlan& plan);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_MEMORY_PLAN_H_
