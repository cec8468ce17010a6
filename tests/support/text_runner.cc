#include "tests/support/text_runner.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "gtest/gtest.h"
#include "kernels/sampling/sampler.h"
#include "kernels/sampling/vocabulary_ops.h"
#include "kernels/stopwatch.h"

namespace lapidary {

using kernels::ConstMatrixView;
using kernels::KvPool;
using kernels::KvSequence;
using kernels::SequenceRows;
using kernels::Tensor;
using kernels::text::LayerRange;
using kernels::text::TextBatch;
using kernels::text::TextModel;

absl::StatusOr<std::unique_ptr<TextRunner>> TextRunner::Open(
    const std::string& packed_folder, const TextRunnerOptions& options) {
  auto runner = std::make_unique<TextRunner>();
  runner->options_ = options;
  auto packed = PackedModel::Open(packed_folder, {});
  if (!packed.ok()) return packed.status();
  runner->packed_ = *std::move(packed);
  auto ple = PleStore::Open(runner->packed_->ple_folder(),
                            runner->packed_->ple_shape(), {});
  if (!ple.ok()) return ple.status();
  runner->ple_ = *std::move(ple);
  const auto& config = runner->packed_->config().text;
  auto weights = kernels::text::BindTextWeights(
      config, LayerRange{0, config.num_hidden_layers},
      runner->packed_->Lookup());
  if (!weights.ok()) return weights.status();
  kernels::text::TextModelOptions model_options;
  model_options.kv_dtype = options.kv_dtype;
  runner->model_ =
      std::make_unique<TextModel>(*std::move(weights), model_options);
  runner->pool_ =
      std::make_unique<KvPool>(runner->model_->kv_layout(), options.kv_pages);
  return runner;
}

RunningSequence TextRunner::Start(int64_t max_positions) {
  auto kv = KvSequence::Create(pool_.get(), max_positions);
  EXPECT_TRUE(kv.ok()) << kv.status();
  return {*std::move(kv), 0};
}

LogitRows TextRunner::Step(absl::Span<RunningSequence* const> sequences,
                           absl::Span<const int64_t> rows_of,
                           absl::Span<const int32_t> ids,
                           absl::Span<const int64_t> output_rows) {
  std::vector<SequenceRows> spans;
  for (size_t i = 0; i < sequences.size(); ++i) {
    spans.push_back(
        {sequences[i]->kv.get(), sequences[i]->position, rows_of[i]});
    sequences[i]->position += rows_of[i];
  }
  std::vector<int32_t> ple_ids(ids.begin(), ids.end());
  for (int32_t& id : ple_ids) {
    if (id >= config().vocab_size_per_layer_input) id = 0;
  }
  const absl::StatusOr<Tensor> rows = [&] {
    const kernels::Stopwatch watch(&ple_ns_);
    return ple_->Read(ple_ids, {0, config().num_hidden_layers});
  }();
  EXPECT_TRUE(rows.ok()) << rows.status();
  std::vector<const void*> ple_rows;
  for (size_t row = 0; row < ids.size(); ++row) {
    ple_rows.push_back(static_cast<const std::byte*>(rows->raw()) +
                       row * ple_->shape().RowBytes());
  }
  TextBatch batch;
  batch.sequences = spans;
  batch.token_ids = ids;
  batch.ple_rows = ple_rows;
  batch.ple_dtype = rows->dtype();
  batch.output_rows = output_rows;
  batch.trim_prefill = options_.trim_prefill;
  LogitRows logits;
  model_->Forward(batch, [&](int64_t, ConstMatrixView block) {
    for (int64_t row = 0; row < block.rows; ++row) {
      logits.emplace_back(block.row(row), block.row(row) + block.cols);
    }
  });
  return logits;
}

LogitRows TextRunner::Feed(RunningSequence* sequence,
                           absl::Span<const int32_t> ids, int64_t chunk,
                           Outputs outputs) {
  LogitRows all;
  const auto size = static_cast<int64_t>(ids.size());
  for (int64_t first = 0; first < size; first += chunk) {
    const int64_t rows = std::min(chunk, size - first);
    std::vector<int64_t> wanted(rows);
    std::iota(wanted.begin(), wanted.end(), 0);
    if (outputs == Outputs::kLast) {
      wanted.clear();
      if (first + rows == size) wanted.push_back(rows - 1);
    }
    LogitRows logits =
        Step({sequence}, {rows}, ids.subspan(first, rows), wanted);
    for (auto& row : logits) all.push_back(std::move(row));
  }
  return all;
}

LogitRows TextRunner::DecodeTogether(
    absl::Span<RunningSequence* const> sequences,
    absl::Span<const int32_t> ids) {
  const std::vector<int64_t> one(sequences.size(), 1);
  std::vector<int64_t> wanted(sequences.size());
  std::iota(wanted.begin(), wanted.end(), 0);
  return Step(sequences, one, ids, wanted);
}

std::vector<int32_t> TextRunner::Greedy(absl::Span<const int32_t> prompt,
                                        int64_t chunk, int64_t count) {
  RunningSequence sequence = Start(prompt.size() + count);
  std::vector<int32_t> tokens;
  LogitRows logits = Feed(&sequence, prompt, chunk, Outputs::kLast);
  while (true) {
    tokens.push_back(
        Argmax(logits.back(), config().vocab_size_per_layer_input));
    if (static_cast<int64_t>(tokens.size()) == count) return tokens;
    logits = Feed(&sequence, {tokens.back()}, 1, Outputs::kLast);
  }
}

std::vector<float> LogProbs(const std::vector<float>& logits) {
  const double sum = kernels::LogSumExp(logits);
  std::vector<float> result;
  for (float logit : logits) result.push_back(static_cast<float>(logit - sum));
  return result;
}

int32_t Argmax(const std::vector<float>& logits, int64_t below) {
  return static_cast<int32_t>(
      std::max_element(logits.begin(), logits.begin() + below) -
      logits.begin());
}

}  // namespace lapidary
