// A packed model run without actors: prompt in chunks, logits out.
//
//   auto runner = TextRunner::Open(packed_folder, {});
//   auto sequence = runner->Start(max_positions);
//   auto logits = runner->Feed(sequence.get(), ids, Outputs::kAll);
#ifndef LAPIDARY_TESTS_SUPPORT_TEXT_RUNNER_H_
#define LAPIDARY_TESTS_SUPPORT_TEXT_RUNNER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/attention/kv_cache.h"
#include "kernels/text/model.h"
#include "storage/packed_model.h"
#include "storage/ple_store.h"

namespace lapidary {

struct TextRunnerOptions {
  kernels::DType kv_dtype = kernels::DType::kF32;
  int64_t kv_pages = 4096;
  bool trim_prefill = true;
};

// One sequence: its cache and how far it has come.
struct RunningSequence {
  std::unique_ptr<kernels::KvSequence> kv;
  int64_t position = 0;
};

using LogitRows = std::vector<std::vector<float>>;

class TextRunner {
 public:
  enum class Outputs { kAll, kLast };

  static absl::StatusOr<std::unique_ptr<TextRunner>> Open(
      const std::string& packed_folder, const TextRunnerOptions& options);

  const kernels::text::TextConfig& config() const { return model_->config(); }
  kernels::KvPool* pool() { return pool_.get(); }
  kernels::text::TextModel* model() { return model_.get(); }
  PleStore* ple() { return ple_.get(); }
  const PackedModel& packed() const { return *packed_; }

  // Time spent reading the PLE table since the last reset.
  double ple_seconds() const { return ple_ns_ * 1e-9; }
  void ResetPleSeconds() { ple_ns_ = 0; }

  RunningSequence Start(int64_t max_positions);

  // One step for each chunk of `chunk` ids; logits of all positions, or of the
  // last one.
  LogitRows Feed(RunningSequence* sequence, absl::Span<const int32_t> ids,
                 int64_t chunk, Outputs outputs);

  // One step for several sequences, one id each.
  LogitRows DecodeTogether(absl::Span<RunningSequence* const> sequences,
                           absl::Span<const int32_t> ids);

  // Greedy continuation of a prompt, fed in chunks; ids at or above
  // vocab_size_per_layer_input are not chosen.
  std::vector<int32_t> Greedy(absl::Span<const int32_t> prompt, int64_t chunk,
                              int64_t count);

 private:
  LogitRows Step(absl::Span<RunningSequence* const> sequences,
                 absl::Span<const int64_t> rows_of,
                 absl::Span<const int32_t> ids,
                 absl::Span<const int64_t> output_rows);

  TextRunnerOptions options_;
  int64_t ple_ns_ = 0;
  std::unique_ptr<PackedModel> packed_;
  std::unique_ptr<PleStore> ple_;
  std::unique_ptr<kernels::text::TextModel> model_;
  std::unique_ptr<kernels::KvPool> pool_;
};

// log-softmax over the whole vocabulary.
std::vector<float> LogProbs(const std::vector<float>& logits);

// The best id below `below`.
int32_t Argmax(const std::vector<float>& logits, int64_t below);

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_TEXT_RUNNER_H_
