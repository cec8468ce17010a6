// The text decoder: token ids in, logits out, for a batch of sequences that
// are anywhere in their prompt or their answer.
//
//   TextModel model(std::move(weights), options);
//   model.Forward(batch, [&](int64_t first_output, ConstMatrixView logits) {
//     …sample…
//   });
//
// The same class runs a range of layers as one stage of a pipeline: Embed in
// the first stage, RunLayers in each, Head in the last; Forward is the three
// in a row.
//
// One TextModel belongs to one compute thread (it owns the scratch memory);
// its weights may be shared. The team that works for it is the caller's
// (kernels/parallel.h).
#ifndef LAPIDARY_KERNELS_TEXT_MODEL_H_
#define LAPIDARY_KERNELS_TEXT_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "kernels/attention/kv_cache.h"
#include "kernels/attention/step_kv.h"
#include "kernels/tensor.h"
#include "kernels/text/sparse_ffn.h"
#include "kernels/text/weights.h"

namespace lapidary::kernels::text {

// One step's input. `rows` below is the sum over sequences, at most
// TextModelOptions::max_rows.
struct TextBatch {
  absl::Span<const SequenceRows> sequences;
  absl::Span<const int32_t> token_ids;  // [rows], each in [0, vocab_size)
  // For each row its PLE table row, [range.count()][P] of type ple_dtype,
  // unscaled as in the checkpoint. Ids at or above vocab_size_per_layer_input
  // use the table's row 0.
  absl::Span<const void* const> ple_rows;
  DType ple_dtype = DType::kBf16;
  // For each row null, or its embedding where that is not its token's: a soft
  // token, [hidden], as a tower's embedder makes it. Empty: none has one.
  absl::Span<const float* const> soft_tokens;
  // Rows whose logits are wanted, ascending.
  absl::Span<const int64_t> output_rows;
  // Rows that nobody wants logits of stop at the last layer that owns keys and
  // values: exact, and a third less work in a prompt. Off: every row runs
  // through every layer.
  bool trim_prefill = true;
};

// What crosses from one stage to the next.
//
// Row counts below are of live rows; the vectors have room for more (batch
// classes), which nobody reads.
struct StageState {
  // Rows of the batch that still run, ascending.
  std::vector<int64_t> live_rows;
  // The (merged) input embedding, which every layer's PLE projection reads.
  std::vector<float> embedding;  // [live][hidden]
  std::vector<float> streams;    // [altup_num_inputs][live][hidden]
  // Keys and values that KV-shared layers of later stages read, one for each
  // donor layer that this or an earlier stage holds: all rows of the batch, in
  // the cache's dtype.
  struct Donor {
    int64_t layer = 0;
    std::vector<std::byte> keys;    // [rows][kv_width]
    std::vector<std::byte> values;  // [rows][kv_width]
  };
  std::vector<Donor> donors;
};

struct TextModelOptions {
  int64_t max_rows = 512;
  // Logits of so many rows are held at once: 67 MB for a vocabulary of 262,400.
  int64_t head_rows = 64;
  DType kv_dtype = DType::kF32;
};

// Where the time of steps went, in nanoseconds; added up until reset.
struct TextTimings {
  int64_t gemm_ns = 0;  // projections, the head not among them
  int64_t attention_ns = 0;
  int64_t head_ns = 0;
  int64_t total_ns = 0;
};

struct Step;

class TextModel {
 public:
  TextModel(TextWeights weights, const TextModelOptions& options);
  ~TextModel();

  const TextConfig& config() const { return weights_.config; }
  // What the sequences' caches must hold.
  const KvLayout& kv_layout() const { return kv_layout_; }
  LayerRange range() const { return weights_.range; }
  const TextModelOptions& options() const { return options_; }

  // Called with blocks of consecutive outputs, in order.
  //   first_output  index into output_rows of the block's first row
  //   logits        [block][vocab_size], soft-capped; valid during the call
  using LogitsSink =
      std::function<void(int64_t first_output, ConstMatrixView logits)>;

  // The whole model: range() must be all layers.
  void Forward(const TextBatch& batch, const LogitsSink& sink);

  void Embed(const TextBatch& batch, StageState* state);
  void RunLayers(const TextBatch& batch, StageState* state);
  void Head(const TextBatch& batch, const StageState& state,
            const LogitsSink& sink);

  // Bytes of weights that one token, decoded alone, reads (the PLE row and the
  // cache not counted): of sparse layers by neuron as much as was active of
  // them so far, or all before the first step.
  size_t WeightBytesPerToken() const;

  // How much that was.
  const SparsityCount& sparsity() const;

  // Bytes of scratch memory that the model holds.
  size_t ScratchBytes() const;

  const TextTimings& timings() const { return timings_; }
  void ResetTimings() { timings_ = TextTimings(); }

 private:
  TextWeights weights_;
  TextModelOptions options_;
  KvLayout kv_layout_;
  std::unique_ptr<Step> step_;
  TextTimings timings_;
};

}  // namespace lapidary::kernels::text

#endif  // LAPIDARY_KERNELS_TEXT_MODEL_H_
