#include "kernels/text/layer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/container/inlined_vector.h"
#include "kernels/attention/attention.h"
#include "kernels/parallel.h"
#include "kernels/simd/row_ops.h"
#include "kernels/stopwatch.h"
#include "kernels/text/altup.h"

namespace lapidary::kernels::text {
namespace {

constexpr float kSqrt2 = 1.41421356f;

void NormRows(ConstMatrixView in, const float* weight, float eps,
              MatrixView out) {
  ParallelFor(in.rows, [&](int64_t row) {
    RmsNorm(in.row(row), weight, eps, in.cols, out.row(row));
  });
}

// (x_k, x_{k+half}) turned by the angles of a row: the "rotate half" layout.
void Rotate(const float* cos, const float* sin, int64_t half, float* head) {
  for (int64_t k = 0; k < half; ++k) {
    const float a = head[k];
    const float b = head[k + half];
    head[k] = a * cos[k] - b * sin[k];
    head[k + half] = b * cos[k] + a * sin[k];
  }
}

// Norm of each head with the head's shared weight, then rotation to the row's
// position (`rope` null: none).
void NormHeads(const TextConfig& c, const float* weight, const RopeTable* rope,
               int64_t batch_row, int64_t heads, float* row) {
  const int64_t half = c.head_dim / 2;
  for (int64_t h = 0; h < heads; ++h) {
    float* head = row + h * c.head_dim;
    RmsNorm(head, weight, c.rms_norm_eps, c.head_dim, head);
    if (rope != nullptr) {
      Rotate(&rope->cos[batch_row * half], &rope->sin[batch_row * half], half,
             head);
    }
  }
}

const RopeTable& RopeOf(const LayerPlace& place, const Step& step) {
  return step.rope[static_cast<size_t>(place.config.layer_types[place.layer])];
}

void StoreKv(DType dtype, const float* row, int64_t width, std::byte* out) {
  if (dtype == DType::kBf16) {
    ToBf16(row, width, reinterpret_cast<uint16_t*>(out));
  } else {
    std::memcpy(out, row, width * sizeof(float));
  }
}

// (c) k = rope(norm(W_k an)), v = norm(W_v an), from the products.
void StoreKeysAndValues(const LayerPlace& place, const LayerWeights& w,
                        const StageState& state, MatrixView key,
                        MatrixView value, Step* step) {
  const TextConfig& c = place.config;
  const KvLayout& layout = place.kv_layout;
  const RopeTable& rope = RopeOf(place, *step);
  const int64_t index = step->kv.IndexOf(place.layer);
  const size_t row_bytes = layout.RowBytes();
  ParallelFor(key.rows, [&](int64_t row) {
    const int64_t batch_row = state.live_rows[row];
    NormHeads(c, w.k_norm, &rope, batch_row, c.num_key_value_heads,
              key.row(row));
    NormHeads(c, nullptr, nullptr, batch_row, c.num_key_value_heads,
              value.row(row));
    StoreKv(layout.dtype, key.row(row), c.kv_width(),
            step->kv.Keys(index) + batch_row * row_bytes);
    StoreKv(layout.dtype, value.row(row), c.kv_width(),
            step->kv.Values(index) + batch_row * row_bytes);
  });
}

// Leaves only the batch's output rows, in every matrix that is still read.
void KeepOutputRows(const TextBatch& batch, const TextConfig& c, Step* step,
                    StageState* state, StreamsView* predicted,
                    MatrixView* normed) {
  const int64_t hidden = c.hidden_size;
  std::vector<int64_t> kept;  // indices into the live rows
  for (size_t row = 0; row < state->live_rows.size(); ++row) {
    if (std::binary_search(batch.output_rows.begin(), batch.output_rows.end(),
                           state->live_rows[row])) {
      kept.push_back(row);
    }
  }
  const auto move = [&](const float* from, int64_t row, float* to,
                        int64_t index) {
    std::memmove(to + index * hidden, from + row * hidden,
                 hidden * sizeof(float));
  };
  const auto count = static_cast<int64_t>(kept.size());
  const StreamsView before = *predicted;
  *predicted = Step::Streams(&step->predicted_storage, c, count);
  for (int64_t i = 0; i < before.streams; ++i) {
    for (int64_t j = 0; j < count; ++j) {
      move(before.stream(i).data, kept[j], predicted->stream(i).data, j);
    }
  }
  for (int64_t j = 0; j < count; ++j) {
    move(normed->data, kept[j], normed->data, j);
    move(state->embedding.data(), kept[j], state->embedding.data(), j);
    state->live_rows[j] = state->live_rows[kept[j]];
  }
  normed->rows = count;
  state->live_rows.resize(count);
}

// What a layer projects of its normed input, beside keys and values.
struct Projections {
  MatrixView laurel_low;  // W_l an
  MatrixView query;       // W_q an
};

// All products of the normed input `an` in one go; where the prompt's last rows
// leave the batch here, keys and values first, of all rows.
Projections ProjectInput(const LayerPlace& place, const LayerWeights& w,
                         const TextBatch& batch, Step* step, StageState* state,
                         StreamsView* predicted, MatrixView* normed) {
  const TextConfig& c = place.config;
  absl::InlinedVector<Product, 4> products;
  MatrixView key, value;
  if (c.OwnsKv(place.layer)) {
    key = step->key.Take(normed->rows, c.kv_width());
    value = step->value.Take(normed->rows, c.kv_width());
    products = {{&w.k_proj, key}, {&w.v_proj, value}};
  }
  const bool trims =
      batch.trim_prefill && place.layer + 1 == c.first_kv_shared_layer();
  if (trims) {
    step->ProjectAll(*normed, products);
    StoreKeysAndValues(place, w, *state, key, value, step);
    KeepOutputRows(batch, c, step, state, predicted, normed);
    products.clear();
  }
  const Projections made = {step->laurel_low.Take(normed->rows, c.laurel_rank),
                            step->query.Take(normed->rows, c.query_width())};
  if (normed->rows == 0) return made;
  products.push_back({&w.laurel_left, made.laurel_low});
  products.push_back({&w.q_proj, made.query});
  step->ProjectAll(*normed, products);
  step->Expect(normed->rows, {&w.laurel_right});
  if (!trims && c.OwnsKv(place.layer)) {
    StoreKeysAndValues(place, w, *state, key, value, step);
  }
  return made;
}

// (b) Lr = an + norm(W_r (W_l an))
MatrixView Laurel(const LayerPlace& place, const LayerWeights& w,
                  ConstMatrixView normed, ConstMatrixView low, Step* step) {
  const TextConfig& c = place.config;
  const MatrixView laurel = step->laurel.Take(normed.rows, c.hidden_size);
  step->Project(w.laurel_right, low, laurel);
  step->Expect(normed.rows, {&w.o_proj});
  ParallelFor(normed.rows, [&](int64_t row) {
    RmsNorm(laurel.row(row), w.post_laurel_norm, c.rms_norm_eps, c.hidden_size,
            laurel.row(row));
    AddScaled(1.0f, normed.row(row), c.hidden_size, laurel.row(row));
  });
  return laurel;
}

// (c) softmax(q kᵀ) v of every query head, over the keys of KvSource(layer).
void Attend(const LayerPlace& place, const TextBatch& batch,
            const StageState& state, ConstMatrixView query, MatrixView context,
            Step* step) {
  const TextConfig& c = place.config;
  const Stopwatch watch(&step->timings->attention_ns);
  const AttentionShape shape{place.kv_layout.dtype, c.num_attention_heads,
                             c.num_key_value_heads, c.head_dim};
  const int64_t index = step->kv.IndexOf(c.KvSource(place.layer));
  const int64_t window =
      c.layer_types[place.layer] == LayerType::kSliding ? c.sliding_window : 0;
  const int64_t group_width = shape.group() * c.head_dim;
  step->scores.resize(std::max<size_t>(step->scores.size(), ComputeThreads()));
  const int64_t tasks = query.rows * c.num_key_value_heads;
  ParallelTasks(tasks, [&](int thread, int64_t task) {
    const int64_t row = task / c.num_key_value_heads;
    const int64_t kv_head = task % c.num_key_value_heads;
    const RowPlace& at = step->places[state.live_rows[row]];
    thread_local std::vector<KvRun> runs;
    step->kv.VisibleRuns(index, batch.sequences[at.sequence], at.first_row,
                         at.position, window, &runs);
    std::vector<float>& scores = step->scores[thread];
    const int64_t seen = at.position + 1;
    const size_t needed =
        shape.group() * (window > 0 ? std::min(window, seen) : seen);
    if (scores.size() < needed) scores.resize(needed);
    AttendHeadGroup(shape, kv_head, query.row(row) + kv_head * group_width,
                    runs, scores.data(),
                    context.row(row) + kv_head * group_width);
  });
}

// (c) W_o of the attention of W_q an.
MatrixView SelfAttention(const LayerPlace& place, const LayerWeights& w,
                         const TextBatch& batch, const StageState& state,
                         MatrixView query, Step* step) {
  const TextConfig& c = place.config;
  const RopeTable& rope = RopeOf(place, *step);
  ParallelFor(query.rows, [&](int64_t row) {
    NormHeads(c, w.q_norm, &rope, state.live_rows[row], c.num_attention_heads,
              query.row(row));
  });
  const MatrixView context = step->context.Take(query.rows, c.query_width());
  Attend(place, batch, state, query, context, step);
  const MatrixView attended = step->attended.Take(query.rows, c.hidden_size);
  step->Project(w.o_proj, context, attended);
  step->Expect(query.rows, {&w.gate_proj, &w.up_proj});
  return attended;
}

// (d) y = (a + norm(o) + Lr) / √2, in place of o.
void AddResiduals(const LayerPlace& place, const LayerWeights& w,
                  ConstMatrixView active, ConstMatrixView laurel,
                  MatrixView attended) {
  const int64_t hidden = place.config.hidden_size;
  ParallelFor(attended.rows, [&](int64_t row) {
    float* y = attended.row(row);
    RmsNorm(y, w.post_attention_layernorm, place.config.rms_norm_eps, hidden,
            y);
    AddScaled(1.0f, active.row(row), hidden, y);
    AddScaled(1.0f, laurel.row(row), hidden, y);
    for (int64_t i = 0; i < hidden; ++i) y[i] /= kSqrt2;
  });
}

// (e) b = y + norm(W_d (gelu(sparse(W_g yn)) ⊙ W_u yn)), in place of y.
void FeedForward(const LayerPlace& place, const LayerWeights& w, MatrixView y,
                 Step* step) {
  const TextConfig& c = place.config;
  const int64_t inner = c.intermediate_size[place.layer];
  const MatrixView normed = step->hidden.Take(y.rows, c.hidden_size);
  NormRows(y, w.pre_feedforward_layernorm, c.rms_norm_eps, normed);
  const MatrixView gate = step->gate.Take(y.rows, inner);
  const MatrixView up = step->up.Take(y.rows, inner);
  const MatrixView down = step->hidden.Take(y.rows, c.hidden_size);
  if (!w.up_neurons.empty()) {
    const Stopwatch watch(&step->timings->gemm_ns);
    step->sparse_ffn.Run(w, normed, gate, up, down);
  } else {
    step->ProjectAll(normed, {{&w.gate_proj, gate}, {&w.up_proj, up}});
    step->Expect(y.rows, {&w.down_proj});
    const bool sparse = c.activation_sparsity_pattern[place.layer] > 0;
    ParallelFor(y.rows, [&](int64_t row) {
      if (sparse) GaussianTopK(w.sparsity_multiplier, inner, gate.row(row));
      GeluTanhTimes(up.row(row), inner, gate.row(row));
    });
    step->Project(w.down_proj, gate, down);
  }
  step->Expect(y.rows, {&place.ple_projection});
  ParallelFor(y.rows, [&](int64_t row) {
    RmsNorm(down.row(row), w.post_feedforward_layernorm, c.rms_norm_eps,
            c.hidden_size, down.row(row));
    AddScaled(1.0f, down.row(row), c.hidden_size, y.row(row));
  });
}

// This layer's P numbers of a row of the PLE table, scaled by √P.
void LoadPleRow(const LayerPlace& place, const TextBatch& batch,
                int64_t batch_row, float* out) {
  const int64_t width = place.config.hidden_size_per_layer_input;
  const int64_t offset = (place.layer - place.range.first) * width;
  const float scale = std::sqrt(static_cast<float>(width));
  const void* row = batch.ple_rows[batch_row];
  if (batch.ple_dtype == DType::kBf16) {
    FromBf16(static_cast<const uint16_t*>(row) + offset, scale, width, out);
  } else {
    Scale(scale, static_cast<const float*>(row) + offset, width, out);
  }
}

// Step 1 of the specification, for this layer:
//   P_l = (norm(H^-1/2 W_plm e) + √P T_l) / √2
MatrixView PerLayerInput(const LayerPlace& place, const LayerWeights& w,
                         const TextBatch& batch, StageState* state,
                         Step* step) {
  const TextConfig& c = place.config;
  const auto rows = static_cast<int64_t>(state->live_rows.size());
  const int64_t width = c.hidden_size_per_layer_input;
  const MatrixView input = step->per_layer_input.Take(rows, width);
  step->Project(place.ple_projection,
                {state->embedding.data(), rows, c.hidden_size}, input);
  step->Expect(rows, {&w.per_layer_input_gate});
  const float scale = 1.0f / std::sqrt(static_cast<float>(c.hidden_size));
  ParallelFor(rows, [&](int64_t row) {
    thread_local std::vector<float> table;
    table.resize(width);
    LoadPleRow(place, batch, state->live_rows[row], table.data());
    float* u = input.row(row);
    Scale(scale, u, width, u);
    RmsNorm(u, place.ple_norm, c.rms_norm_eps, width, u);
    AddScaled(1.0f, table.data(), width, u);
    Scale(1.0f / kSqrt2, u, width, u);
  });
  return input;
}

// (g) The per-layer input reaches all streams but the first:
//   h_i += norm(W_plp (gelu(W_plg (q ⊙ correct_output_scale)) ⊙ P_l))
void InjectPerLayerInput(const LayerPlace& place, const LayerWeights& w,
                         ConstMatrixView per_layer_input, StreamsView streams,
                         Step* step) {
  const TextConfig& c = place.config;
  const int64_t hidden = c.hidden_size;
  const int64_t width = c.hidden_size_per_layer_input;
  const MatrixView first = step->hidden.Take(streams.rows, hidden);
  const ConstMatrixView active = streams.stream(c.altup_active_idx);
  ParallelFor(streams.rows, [&](int64_t row) {
    for (int64_t i = 0; i < hidden; ++i) {
      const float scale =
          c.altup_correct_scale ? w.correct_output_scale[i] : 1.0f;
      first.row(row)[i] = active.row(row)[i] * scale;
    }
  });
  const MatrixView gate = step->per_layer_gate.Take(streams.rows, width);
  step->Project(w.per_layer_input_gate, first, gate);
  step->Expect(streams.rows, {&w.per_layer_projection});
  ParallelFor(streams.rows, [&](int64_t row) {
    GeluTanhTimes(per_layer_input.row(row), width, gate.row(row));
  });
  step->Project(w.per_layer_projection, gate, first);
  if (const LayerWeights* next = place.next) {
    step->Expect(streams.rows, {&next->k_proj, &next->v_proj,
                                &next->laurel_left, &next->q_proj});
  }
  ParallelFor(streams.rows, [&](int64_t row) {
    RmsNorm(first.row(row), w.post_per_layer_input_norm, c.rms_norm_eps, hidden,
            first.row(row));
    for (int64_t i = 1; i < streams.streams; ++i) {
      AddScaled(1.0f, first.row(row), hidden, streams.stream(i).row(row));
    }
  });
}

}  // namespace

void RunLayer(const LayerPlace& place, const LayerWeights& w,
              const TextBatch& batch, Step* step, StageState* state) {
  const TextConfig& c = place.config;
  auto rows = static_cast<int64_t>(state->live_rows.size());

  // (a) Predict
  StreamsView predicted = Step::Streams(&step->predicted_storage, c, rows);
  Predict(c, w, Step::Streams(&state->streams, c, rows), predicted);

  // (b) Normed active stream, (b, c) its projections
  MatrixView normed = step->normed.Take(rows, c.hidden_size);
  NormRows(predicted.stream(c.altup_active_idx), w.input_layernorm,
           c.rms_norm_eps, normed);
  const Projections projected =
      ProjectInput(place, w, batch, step, state, &predicted, &normed);
  rows = normed.rows;
  if (rows == 0) return;
  const ConstMatrixView active = predicted.stream(c.altup_active_idx);

  // (b) LAuReL, (c) attention, (d) residuals
  const MatrixView laurel =
      Laurel(place, w, normed, projected.laurel_low, step);
  const MatrixView y =
      SelfAttention(place, w, batch, *state, projected.query, step);
  AddResiduals(place, w, active, laurel, y);

  // (e) FFN
  FeedForward(place, w, y, step);

  // (f) Correct
  const StreamsView corrected = Step::Streams(&state->streams, c, rows);
  Correct(c, w, predicted, y, corrected);

  // (g) Per-layer input
  const MatrixView input = PerLayerInput(place, w, batch, state, step);
  InjectPerLayerInput(place, w, input, corrected, step);
}

}  // namespace lapidary::kernels::text
