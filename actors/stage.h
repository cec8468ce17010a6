// Runs the layers of one range of the text model. Owns the keys and values of
// every sequence it was given rows of, and their samplers, and those blocks of
// keys and values that it was told to keep; a stage that is lost loses those,
// and the sequencer ends their sequences with UNAVAILABLE.
//
// A step never fails as a whole for what one sequence asks: that sequence's
// result carries the error, and the stage forgets the sequence.
#ifndef LAPIDARY_ACTORS_STAGE_H_
#define LAPIDARY_ACTORS_STAGE_H_

#include <memory>
#include <unordered_map>
#include <vector>

#include "actors/kept_blocks.h"
#include "actors/messages.h"
#include "kernels/attention/kv_cache.h"
#include "kernels/sampling/sampler.h"
#include "kernels/text/model.h"
#include "storage/packed_model.h"

namespace lapidary {

struct StageConfig {
  std::shared_ptr<const PackedModel> model;
  kernels::text::LayerRange layers;  // all of them: one stage a model
  kernels::text::TextModelOptions options;
  int64_t kv_pages = 0;
  bool trim_prefill = true;
  int threads = 1;  // that compute
};

struct StageState {
  struct Sequence {
    std::unique_ptr<kernels::KvSequence> kv;
    kernels::Sampler sampler;
    std::vector<int32_t> tokens;  // whose keys and values are cached
    std::vector<kernels::KvBlock*> keep = {};  // blocks, in the step under way

    int64_t positions() const { return static_cast<int64_t>(tokens.size()); }
  };
  StageConfig config;
  std::unique_ptr<kernels::KvPool> pool;  // outlives the sequences
  KeptBlocks kept;
  std::unique_ptr<kernels::text::TextModel> model;
  std::unordered_map<SequenceId, Sequence> sequences;
};

// Computes: spawn it detached.
StageActor::behavior_type Stage(StageActor::stateful_pointer<StageState> self,
                                StageConfig config);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_STAGE_H_
