#include "kernels/text/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/parallel.h"
#include "kernels/sampling/vocabulary_ops.h"
#include "kernels/simd/row_ops.h"
#include "kernels/stopwatch.h"
#include "kernels/text/altup.h"
#include "kernels/text/kv_layout.h"
#include "kernels/text/layer.h"
#include "kernels/text/step.h"

namespace lapidary::kernels::text {
namespace {

std::vector<RowPlace> PlacesOf(const TextBatch& batch) {
  std::vector<RowPlace> places;
  int64_t first_row = 0;
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const SequenceRows& sequence = batch.sequences[s];
    for (int64_t row = 0; row < sequence.rows; ++row) {
      places.push_back(
          {static_cast<int64_t>(s), first_row, sequence.first_position + row});
    }
    first_row += sequence.rows;
  }
  return places;
}

// Layers whose keys and values KV-shared layers read.
std::vector<int64_t> DonorsOf(const TextConfig& config) {
  std::vector<int64_t> donors;
  for (int64_t layer = config.first_kv_shared_layer();
       layer < config.num_hidden_layers; ++layer) {
    donors.push_back(config.KvSource(layer));
  }
  std::sort(donors.begin(), donors.end());
  donors.erase(std::unique(donors.begin(), donors.end()), donors.end());
  return donors;
}

// Rows of earlier stages' donors, into this stage's step.
void ImportDonors(const StageState& state, LayerRange range,
                  const KvLayout& layout, StepKv* kv) {
  for (const StageState::Donor& donor : state.donors) {
    const bool held = std::any_of(
        layout.layers.begin(), layout.layers.end(),
        [&](const KvLayout::Layer& l) { return l.layer == donor.layer; });
    if (!held || range.Contains(donor.layer)) continue;
    const int64_t index = kv->IndexOf(donor.layer);
    std::memcpy(kv->Keys(index), donor.keys.data(), donor.keys.size());
    std::memcpy(kv->Values(index), donor.values.data(), donor.values.size());
  }
}

// This stage's donors, for the stages behind it.
void ExportDonors(const TextConfig& config, LayerRange range, int64_t rows,
                  const KvLayout& layout, StepKv* kv, StageState* state) {
  if (range.last == config.num_hidden_layers) return;
  const size_t bytes = rows * layout.RowBytes();
  for (int64_t donor : DonorsOf(config)) {
    if (!range.Contains(donor)) continue;
    const int64_t index = kv->IndexOf(donor);
    const std::byte* keys = kv->Keys(index);
    const std::byte* values = kv->Values(index);
    state->donors.push_back(
        {donor, {keys, keys + bytes}, {values, values + bytes}});
  }
}

}  // namespace

TextModel::TextModel(TextWeights weights, const TextModelOptions& options)
    : weights_(std::move(weights)),
      options_(options),
      kv_layout_(
          KvLayoutFor(weights_.config, weights_.range, options.kv_dtype)),
      step_(std::make_unique<Step>()) {
  step_->timings = &timings_;
}

TextModel::~TextModel() = default;

void TextModel::Forward(const TextBatch& batch, const LogitsSink& sink) {
  const Stopwatch watch(&timings_.total_ns);
  StageState& state = step_->state;
  state.donors.clear();
  Embed(batch, &state);
  RunLayers(batch, &state);
  Head(batch, state, sink);
}

void TextModel::Embed(const TextBatch& batch, StageState* state) {
  const TextConfig& c = weights_.config;
  const auto rows = static_cast<int64_t>(batch.token_ids.size());
  state->live_rows.resize(rows);
  const size_t size = GemmCapacity(rows) * c.hidden_size;
  MakeRoom(&state->embedding, size);
  const MatrixView embedding{state->embedding.data(), rows, c.hidden_size};
  // Step 0: e = √H E[id]
  const float scale = std::sqrt(static_cast<float>(c.hidden_size));
  ParallelFor(rows, [&](int64_t row) {
    state->live_rows[row] = row;
    float* e = embedding.row(row);
    if (!batch.soft_tokens.empty() && batch.soft_tokens[row] != nullptr) {
      std::copy_n(batch.soft_tokens[row], c.hidden_size, e);
      return;
    }
    weights_.embed_tokens.ReadRow(batch.token_ids[row], e);
    Scale(scale, e, c.hidden_size, e);
  });
  // Step 2: AltUp streams
  InitStreams(weights_.altup_projections, embedding,
              step_->hidden.Take(rows, c.hidden_size),
              Step::Streams(&state->streams, c, rows), &step_->gemm);
}

void TextModel::RunLayers(const TextBatch& batch, StageState* state) {
  const TextConfig& c = weights_.config;
  step_->places = PlacesOf(batch);
  step_->rope[static_cast<size_t>(LayerType::kSliding)].Fill(
      c.rope_local_base_freq, c.head_dim, step_->places);
  step_->rope[static_cast<size_t>(LayerType::kFull)].Fill(
      c.rope_theta, c.head_dim, step_->places);
  const auto rows = static_cast<int64_t>(step_->places.size());
  step_->kv.Begin(kv_layout_, rows);
  ImportDonors(*state, weights_.range, kv_layout_, &step_->kv);
  for (int64_t layer = weights_.range.first; layer < weights_.range.last;
       ++layer) {
    if (state->live_rows.empty()) break;
    const int64_t index = layer - weights_.range.first;
    const LayerPlace place{c,
                           layer,
                           weights_.range,
                           kv_layout_,
                           weights_.per_layer_model_projection[index],
                           weights_.per_layer_projection_norm,
                           layer + 1 < weights_.range.last
                               ? &weights_.layers[index + 1]
                               : nullptr};
    RunLayer(place, weights_.layers[index], batch, step_.get(), state);
  }
  ExportDonors(c, weights_.range, rows, kv_layout_, &step_->kv, state);
  step_->kv.Commit(batch.sequences);
}

void TextModel::Head(const TextBatch& batch, const StageState& state,
                     const LogitsSink& sink) {
  const TextConfig& c = weights_.config;
  const Stopwatch watch(&timings_.head_ns);
  const auto live = static_cast<int64_t>(state.live_rows.size());
  const auto outputs = static_cast<int64_t>(batch.output_rows.size());
  int64_t at = 0;  // the next live row that can be an output
  for (int64_t first = 0; first < outputs; first += options_.head_rows) {
    const int64_t rows = std::min(options_.head_rows, outputs - first);
    const StreamsView streams =
        Step::Streams(&step_->predicted_storage, c, rows);
    for (int64_t row = 0; row < rows; ++row, ++at) {
      while (state.live_rows[at] != batch.output_rows[first + row]) ++at;
      for (int64_t i = 0; i < streams.streams; ++i) {
        std::memcpy(streams.stream(i).row(row),
                    state.streams.data() + (i * live + at) * c.hidden_size,
                    c.hidden_size * sizeof(float));
      }
    }
    const MatrixView merged = step_->normed.Take(rows, c.hidden_size);
    MergeStreams(weights_.altup_unembed_projections, streams,
                 step_->hidden.Take(rows, c.hidden_size), merged, &step_->gemm);
    ParallelFor(rows, [&](int64_t row) {
      RmsNorm(merged.row(row), weights_.norm, c.rms_norm_eps, c.hidden_size,
              merged.row(row));
    });
    const MatrixView logits = step_->logits.Take(rows, c.vocab_size);
    MatMul(weights_.embed_tokens, merged, logits, &step_->gemm);
    if (c.final_logit_softcapping.has_value()) {
      SoftCapRows(*c.final_logit_softcapping, logits);
    }
    sink(first, logits);
  }
}

size_t TextModel::WeightBytesPerToken() const {
  size_t bytes = weights_.embed_tokens.bytes();
  size_t by_neuron = 0;
  const auto add = [&](const WeightMatrix& w) {
    if (!w.empty()) bytes += w.bytes();
  };
  for (const auto* list :
       {&weights_.altup_projections, &weights_.altup_unembed_projections,
        &weights_.per_layer_model_projection}) {
    for (const WeightMatrix& w : *list) add(w);
  }
  for (const LayerWeights& l : weights_.layers) {
    for (const WeightMatrix* w :
         {&l.q_proj, &l.k_proj, &l.v_proj, &l.o_proj, &l.gate_proj, &l.up_proj,
          &l.down_proj, &l.per_layer_input_gate, &l.per_layer_projection,
          &l.laurel_left, &l.laurel_right}) {
      add(*w);
    }
    by_neuron += l.up_neurons.bytes() + l.down_neurons.bytes();
  }
  return bytes + static_cast<size_t>(sparsity().ActiveShare() *
                                     static_cast<double>(by_neuron));
}

const SparsityCount& TextModel::sparsity() const {
  return step_->sparse_ffn.count();
}

size_t TextModel::ScratchBytes() const { return step_->bytes(); }

}  // namespace lapidary::kernels::text
