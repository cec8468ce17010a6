#include "actors/stage.h"

#include <chrono>
#include <string>
#include <unordered_set>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/compute_turn.h"
#include "kernels/gemm/weight_matrix.h"
#include "kernels/parallel.h"
#include "kernels/sampling/vocabulary_ops.h"
#include "kernels/stopwatch.h"

namespace lapidary {
namespace {

using kernels::ConstMatrixView;
using kernels::SequenceRows;
using kernels::text::TextBatch;
using kernels::text::TextConfig;

// A row of the batch whose logits are wanted.
struct Output {
  size_t sequence;  // index in Step::sequences
  int64_t row;      // of that sequence's rows
};

// The batch as the model takes it.
struct Batch {
  std::vector<SequenceRows> sequences;
  std::vector<int32_t> token_ids;
  std::vector<const void*> ple_rows;
  std::vector<const float*> soft_tokens;  // empty while no row has one
  std::vector<int64_t> output_rows;
  std::vector<Output> outputs;  // parallel to output_rows
};

StageGauges Gauges(const StageState& state) {
  StageGauges gauges;
  if (state.pool == nullptr) return gauges;
  gauges.pages_in_use = state.pool->pages_in_use();
  gauges.pages_total = state.pool->pages_total();
  gauges.page_bytes = state.pool->layout().PageBytes();
  gauges.scratch_bytes = state.model->ScratchBytes();
  gauges.sequences = static_cast<int64_t>(state.sequences.size());
  gauges.weight_bytes_per_token = state.model->WeightBytesPerToken();
  gauges.pages_kept = state.pool->pages_kept();
  return gauges;
}

Started Load(StageState& state) {
  kernels::SetComputeThreads(state.config.threads);
  kernels::PinComputeThreads();  // this actor's thread does nothing else
  if (!kernels::GemmSelfTest()) {
    return {absl::InternalError(
                "oneDNN multiplies wrongly on this CPU (self-test of f32 and "
                "bf16 matmul); set DNNL_MAX_CPU_ISA to an older instruction "
                "set, e.g. AVX2"),
            {}};
  }
  const TextConfig& text = state.config.model->config().text;
  auto weights = kernels::text::BindTextWeights(text, state.config.layers,
                                                state.config.model->Lookup());
  if (!weights.ok()) return {weights.status(), {}};
  state.model = std::make_unique<kernels::text::TextModel>(
      *std::move(weights), state.config.options);
  state.pool = std::make_unique<kernels::KvPool>(state.model->kv_layout(),
                                                 state.config.kv_pages);
  return {absl::OkStatus(), Gauges(state)};
}

absl::Status CheckIds(const TextConfig& text, absl::Span<const int32_t> ids) {
  for (int32_t id : ids) {
    if (id < 0 || id >= text.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "token id ", id, " is not in [0, ", text.vocab_size, ")"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTokens(const TextConfig& text, const StepRows& rows) {
  if (rows.token_ids.empty()) {
    return absl::InvalidArgumentError("a sequence has no rows in the step");
  }
  absl::Status status = CheckIds(text, rows.token_ids);
  if (status.ok() && rows.start.has_value()) {
    status = CheckIds(text, rows.start->prefix_tokens);
  }
  if (!status.ok()) return status;
  if (!rows.targets.empty() && rows.targets.size() != rows.token_ids.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        rows.targets.size(), " targets for ", rows.token_ids.size(), " rows"));
  }
  for (int32_t id : rows.targets) {
    if (id < -1 || id >= text.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "target ", id, " is not in [-1, ", text.vocab_size, ")"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPleRows(const StageState& state, const StepRows& rows) {
  const std::vector<int64_t> shape = {
      static_cast<int64_t>(rows.token_ids.size()), state.config.layers.count(),
      state.config.model->config().text.hidden_size_per_layer_input};
  const kernels::Tensor& tensor = rows.ple_rows;
  if (tensor.empty() || tensor.shape() != shape ||
      tensor.dtype() != state.config.model->ple_shape().row_dtype()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "PLE rows are ", tensor.empty() ? "missing" : tensor.ToString(),
        ", the step needs [", shape[0], ", ", shape[1], ", ", shape[2], "] ",
        kernels::NameOf(state.config.model->ple_shape().row_dtype())));
  }
  return absl::OkStatus();
}

absl::Status CheckSoftTokens(const StageState& state, const StepRows& rows) {
  const int64_t hidden = state.config.model->config().text.hidden_size;
  for (const SoftTokens& soft : rows.soft_tokens) {
    const kernels::Tensor& t = soft.rows;
    if (t.empty() || t.dtype() != kernels::DType::kF32 ||
        t.shape().size() != 2 || t.shape()[1] != hidden) {
      return absl::InvalidArgumentError(
          absl::StrCat("soft tokens are ", t.empty() ? "missing" : t.ToString(),
                       ", the model takes f32 [positions, ", hidden, "]"));
    }
  }
  return absl::OkStatus();
}

absl::Status Begin(StageState& state, SequenceId id, const SequenceStart& start,
                   BlockHandle* missing) {
  const TextConfig& text = state.config.model->config().text;
  if (state.sequences.count(id) != 0) {
    return absl::AlreadyExistsError(
        absl::StrCat("sequence ", id, " was started before"));
  }
  if (start.max_positions < 1 ||
      start.max_positions > text.max_position_embeddings) {
    return absl::OutOfRangeError(absl::StrCat(
        "a sequence of ", start.max_positions, " positions; the model has ",
        text.max_position_embeddings));
  }
  const auto vocabulary = static_cast<int32_t>(text.vocab_size_per_layer_input);
  absl::Status status =
      kernels::CheckSamplingParams(start.sampling, vocabulary);
  if (!status.ok()) return status;
  std::vector<const kernels::KvBlock*> prefix;
  status = state.kept.Find(start, state.pool->layout().WindowBlocks(), &prefix,
                           missing);
  if (!status.ok()) return status;
  auto kv = kernels::KvSequence::Create(state.pool.get(), start.max_positions,
                                        prefix);
  if (!kv.ok()) return kv.status();
  StageState::Sequence sequence{*std::move(kv),
                                kernels::Sampler(start.sampling, vocabulary),
                                start.prefix_tokens};
  sequence.sampler.See(start.prefix_tokens);
  sequence.sampler.set_drawn(start.drawn);
  state.sequences.emplace(id, std::move(sequence));
  return absl::OkStatus();
}

// The sequence that `rows` belong to, begun if the rows say so.
absl::StatusOr<StageState::Sequence*> Prepare(StageState& state,
                                              const StepRows& rows,
                                              BlockHandle* missing) {
  absl::Status status = CheckTokens(state.config.model->config().text, rows);
  if (status.ok()) status = CheckPleRows(state, rows);
  if (status.ok()) status = CheckSoftTokens(state, rows);
  if (status.ok() && rows.start.has_value()) {
    status = Begin(state, rows.sequence, *rows.start, missing);
  }
  if (!status.ok()) return status;
  auto it = state.sequences.find(rows.sequence);
  if (it == state.sequences.end()) {
    return absl::NotFoundError(
        absl::StrCat("sequence ", rows.sequence, " was never started here"));
  }
  StageState::Sequence& sequence = it->second;
  const auto count = static_cast<int64_t>(rows.token_ids.size());
  if (rows.first_position != sequence.positions() ||
      sequence.positions() + count > sequence.kv->max_positions()) {
    return absl::OutOfRangeError(absl::StrCat(
        "rows of positions [", rows.first_position, ", ",
        rows.first_position + count, "), sequence ", rows.sequence, " has ",
        sequence.positions(), " of ", sequence.kv->max_positions()));
  }
  sequence.tokens.insert(sequence.tokens.end(), rows.token_ids.begin(),
                         rows.token_ids.end());
  status = state.kept.Add(state.pool.get(), rows.keep, rows.first_position,
                          sequence.tokens, &sequence.keep);
  if (!status.ok()) return status;
  return &sequence;
}

// Of rows that are the batch's from `first` on.
void AppendSoftTokens(const StepRows& rows, int64_t first, Batch& batch) {
  if (rows.soft_tokens.empty() && batch.soft_tokens.empty()) return;
  batch.soft_tokens.resize(batch.token_ids.size());
  const auto count = static_cast<int64_t>(rows.token_ids.size());
  for (const SoftTokens& soft : rows.soft_tokens) {
    const int64_t hidden = soft.rows.shape()[1];
    for (int64_t i = 0; i < soft.rows.shape()[0]; ++i) {
      const int64_t row =
          int64_t{soft.first_position} + i - rows.first_position;
      if (row < 0 || row >= count) continue;
      batch.soft_tokens[first + row] = soft.rows.data<float>() + i * hidden;
    }
  }
}

void Append(const StepRows& rows, size_t index, StageState::Sequence& sequence,
            Batch& batch) {
  const auto first = static_cast<int64_t>(batch.token_ids.size());
  const auto count = static_cast<int64_t>(rows.token_ids.size());
  const size_t row_bytes = rows.ple_rows.bytes() / count;
  batch.sequences.push_back(
      {sequence.kv.get(), rows.first_position, count, sequence.keep});
  for (int64_t row = 0; row < count; ++row) {
    batch.token_ids.push_back(rows.token_ids[row]);
    batch.ple_rows.push_back(rows.ple_rows.data<std::byte>() + row * row_bytes);
    const bool scored = !rows.targets.empty() && rows.targets[row] >= 0;
    if (scored || (rows.sample && row == count - 1)) {
      batch.output_rows.push_back(first + row);
      batch.outputs.push_back({index, row});
    }
  }
  if (rows.is_prompt) sequence.sampler.See(rows.token_ids);
  AppendSoftTokens(rows, first, batch);
}

TokenResult Describe(int32_t id, absl::Span<const float> logits, int32_t top) {
  TokenResult token;
  token.id = id;
  if (top < 0) return token;
  const double log_sum_exp = kernels::LogSumExp(logits);
  token.logprob = static_cast<float>(logits[id] - log_sum_exp);
  if (top > 0) token.top = kernels::TopLogProbs(logits, top, log_sum_exp);
  return token;
}

void TakeLogits(StageState& state, const StepRows& rows, int64_t row,
                absl::Span<const float> logits, StepRowsResult& result) {
  if (!rows.targets.empty() && rows.targets[row] >= 0) {
    result.scored.push_back(
        Describe(rows.targets[row], logits, rows.top_logprobs));
  }
  if (rows.sample && row + 1 == static_cast<int64_t>(rows.token_ids.size())) {
    StageState::Sequence& sequence = state.sequences.at(rows.sequence);
    result.sampled =
        Describe(sequence.sampler.Sample(logits), logits, rows.top_logprobs);
  }
}

// Sequences draw side by side; the rows of one that is scored go in order.
void TakeAllLogits(StageState& state, const Step& step, const Batch& batch,
                   int64_t first_output, ConstMatrixView logits,
                   StepResult& result) {
  const Output* outputs = &batch.outputs[first_output];
  std::vector<int64_t> begins;  // of each sequence's rows
  for (int64_t i = 0; i < logits.rows; ++i) {
    if (i == 0 || outputs[i].sequence != outputs[i - 1].sequence) {
      begins.push_back(i);
    }
  }
  begins.push_back(logits.rows);
  const auto sequences = static_cast<int64_t>(begins.size()) - 1;
  kernels::ParallelTasks(sequences, [&](int /*thread*/, int64_t s) {
    for (int64_t i = begins[s]; i < begins[s + 1]; ++i) {
      TakeLogits(state, step.sequences[outputs[i].sequence], outputs[i].row,
                 absl::MakeConstSpan(logits.row(i), logits.cols),
                 result.sequences[outputs[i].sequence]);
    }
  });
}

absl::Status CheckStep(const StageState& state, const Step& step,
                       int64_t* rows) {
  if (state.model == nullptr) {
    return absl::UnavailableError("the stage has not loaded its weights");
  }
  if (step.layers.first != state.config.layers.first ||
      step.layers.last != state.config.layers.last) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a step of layers [", step.layers.first, ", ", step.layers.last,
        "), this stage has [", state.config.layers.first, ", ",
        state.config.layers.last, ")"));
  }
  *rows = 0;
  std::unordered_set<SequenceId> ids;
  for (const StepRows& sequence : step.sequences) {
    *rows += static_cast<int64_t>(sequence.token_ids.size());
    if (!ids.insert(sequence.sequence).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "sequence ", sequence.sequence, " is in the step twice"));
    }
  }
  if (*rows > state.config.options.max_rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("a step of ", *rows, " rows, this stage takes ",
                     state.config.options.max_rows));
  }
  return absl::OkStatus();
}

void Compute(StageState& state, const Step& step, const Batch& batch,
             StepResult& result) {
  TextBatch input;
  input.sequences = batch.sequences;
  input.token_ids = batch.token_ids;
  input.ple_rows = batch.ple_rows;
  input.ple_dtype = state.config.model->ple_shape().row_dtype();
  input.soft_tokens = batch.soft_tokens;
  input.output_rows = batch.output_rows;
  input.trim_prefill = state.config.trim_prefill;
  state.model->ResetTimings();
  state.model->Forward(
      input, [&](int64_t first_output, ConstMatrixView logits) {
        const kernels::Stopwatch watch(&result.times.sampling_ns);
        TakeAllLogits(state, step, batch, first_output, logits, result);
      });
  const kernels::text::TextTimings& timings = state.model->timings();
  result.times.gemm_ns = timings.gemm_ns;
  result.times.attention_ns = timings.attention_ns;
  // The model counts the time of the function above as its head's.
  result.times.head_ns = timings.head_ns - result.times.sampling_ns;
}

StepResult RunStep(StageState& state, const Step& step) {
  const auto begin = std::chrono::steady_clock::now();
  const kernels::ComputeTurn turn;  // waiting for it is a cost of the step
  StepResult result;
  result.number = step.number;
  result.sequences.resize(step.sequences.size());
  int64_t rows = 0;
  const absl::Status whole = CheckStep(state, step, &rows);
  state.kept.Drop(step.drop_blocks, step.drop_windows);
  Batch batch;
  batch.token_ids.reserve(rows);
  batch.ple_rows.reserve(rows);
  for (size_t i = 0; i < step.sequences.size(); ++i) {
    const StepRows& sequence_rows = step.sequences[i];
    result.sequences[i].sequence = sequence_rows.sequence;
    absl::StatusOr<StageState::Sequence*> sequence =
        whole.ok()
            ? Prepare(state, sequence_rows, &result.sequences[i].missing_block)
            : absl::StatusOr<StageState::Sequence*>(whole);
    if (sequence.ok()) {
      Append(sequence_rows, i, **sequence, batch);
    } else {
      result.sequences[i].status = sequence.status();
      state.sequences.erase(sequence_rows.sequence);
    }
  }
  if (!batch.token_ids.empty()) Compute(state, step, batch, result);
  for (size_t i = 0; i < step.sequences.size(); ++i) {
    result.sequences[i].not_kept = state.kept.Settle(step.sequences[i].keep);
  }
  result.compute_ns =
      std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin)
          .count();
  result.gauges = Gauges(state);
  return result;
}

StageGauges Forget(StageState& state, const Release& release) {
  if (release.all) {
    state.sequences.clear();
    state.kept.Clear();
  }
  for (SequenceId id : release.sequences) state.sequences.erase(id);
  return Gauges(state);
}

}  // namespace

StageActor::behavior_type Stage(StageActor::stateful_pointer<StageState> self,
                                StageConfig config) {
  self->state.config = std::move(config);
  return {
      [self](const Start&) -> caf::result<Started> {
        return Load(self->state);
      },
      [self](const Step& step) -> caf::result<StepResult> {
        return RunStep(self->state, step);
      },
      [self](const Release& release) -> caf::result<StageGauges> {
        return Forget(self->state, release);
      },
  };
}

}  // namespace lapidary
