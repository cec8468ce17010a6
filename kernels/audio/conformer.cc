#include "kernels/audio/conformer.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/attention/local_attention.h"
#include "kernels/audio/product_phase.h"
#include "kernels/conv/causal.h"
#include "kernels/simd/channel_ops.h"
#include "kernels/simd/gated_ops.h"

namespace lapidary::kernels::audio {
namespace {

constexpr size_t kAlignment = 64;
// What a value costs where rows are normed or moved, in multiply-adds.
constexpr int64_t kRowCost = 8;

size_t Aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Copies a piece to a matrix of `stride` columns.
void Place(const Piece& piece, int64_t stride, float* matrix) {
  for (int64_t r = 0; r < piece.rows.count; ++r) {
    std::memcpy(matrix + (piece.rows.first + r) * stride + piece.column,
                piece.values + r * piece.columns,
                piece.columns * sizeof(float));
  }
}

void AddTo(const Piece& piece, int64_t stride, float* matrix) {
  for (int64_t r = 0; r < piece.rows.count; ++r) {
    float* row = matrix + (piece.rows.first + r) * stride + piece.column;
    ScaleRowsAdd(piece.values + r * piece.columns, 1, piece.columns, nullptr,
                 row, row);
  }
}

// The newest rows of `history` and then of `rows`, as many as history may have.
//   rows  history's rows lie before it
void Remember(const float* rows, int64_t count, int64_t width, int64_t most,
              std::vector<float>* history) {
  const auto before = static_cast<int64_t>(history->size()) / width;
  const int64_t keep = std::min(most, before + count);
  history->assign(rows + (before + count - keep) * width,
                  rows + (before + count) * width);
}

}  // namespace

Conformer::Conformer(const AudioWeights* weights)
    : weights_(weights), history_(weights->conformer.size()) {
  const AudioConfig& c = weights->config;
  const int64_t taps = c.conf_conv_kernel_size - 1;
  for (History& history : history_) {
    // Attention leaves frames out that are not there; the convolution reads
    // zeros.
    history.glu.assign(taps * hidden(), 0.0f);
  }
}

int64_t Conformer::FirstToken() const {
  const int64_t factor = weights_->config.conf_reduction_factor;
  return (factor - frames_ % factor) % factor;
}

int64_t Conformer::Tokens() const {
  const int64_t factor = weights_->config.conf_reduction_factor;
  return std::max<int64_t>(
      0, (batch_.frames - FirstToken() + factor - 1) / factor);
}

bool Conformer::Allocate(int64_t frames) {
  const AudioConfig& c = weights_->config;
  const ConformerWeights& block = weights_->conformer[0];
  const int64_t before =
      std::max(c.attention_keys(), c.conf_conv_kernel_size) - 1;
  const size_t f32 = sizeof(float);
  const size_t x = Aligned(frames * hidden() * f32);
  const size_t y =
      Aligned(frames * std::max(hidden(), c.text_hidden_size) * f32);
  const size_t in =
      Aligned(std::max(ProductRows::Bytes(weights_->input_proj_linear, frames),
                       ProductRows::Bytes(block.q_proj, frames)));
  const size_t wide = Aligned(
      std::max<size_t>(ProductRows::Bytes(block.ffw_start.ffw_layer_2, frames),
                       3 * (frames + before) * hidden() * f32));
  batch_.memory = AlignedBuffer::Make(x + y + in + wide);
  if (batch_.memory == nullptr) return false;
  // oneDNN multiplies rows behind the batch's and throws them away.
  std::memset(batch_.memory->data(), 0, batch_.memory->size());
  std::byte* at = batch_.memory->data();
  batch_.frames = frames;
  batch_.x = reinterpret_cast<float*>(at);
  batch_.y = reinterpret_cast<float*>(at + x);
  batch_.in = at + x + y;
  batch_.wide = at + x + y + in;
  return true;
}

// x + weight · RMS(W2 silu(W1 RMS(x))), up to the second product, whose results
// are in y (gemma3n-audio.md §3.4). The inputs are there.
void Conformer::AppendFfw(const FfwWeights& w, int64_t rows,
                          std::vector<Phase>* plan) {
  const ProductRows middle(w.ffw_layer_2, rows, batch_.wide);
  plan->push_back(ProductPhase(
      {{&w.ffw_layer_1,
        [middle](const Piece& piece) {
          for (int64_t r = 0; r < piece.rows.count; ++r) {
            float* row = piece.values + r * piece.columns;
            Silu(row, piece.columns, row);
            middle.Put(piece.rows.first + r, piece.column, row, piece.columns);
          }
        }}},
      InputsOf(w.ffw_layer_1, rows)));
  plan->push_back(ProductPhase(
      {{&w.ffw_layer_2, [n = hidden(), y = batch_.y](
                            const Piece& piece) { Place(piece, n, y); }}},
      middle));
}

// W_post · Attention(·), whose results are in y (§3.5).
void Conformer::AppendAttention(const ConformerWeights& w, History* history,
                                std::vector<Phase>* plan) {
  const AudioConfig& c = weights_->config;
  const int64_t n = hidden(), rows = batch_.frames;
  const int64_t most = c.attention_keys() - 1;
  const auto before = static_cast<int64_t>(history->keys.size()) / n;
  auto* queries = reinterpret_cast<float*>(batch_.wide);
  float* keys = queries + rows * n;
  float* values = keys + (before + rows) * n;
  const auto to = [n](float* matrix) {
    return [n, matrix](const Piece& piece) { Place(piece, n, matrix); };
  };
  Phase project = ProductPhase({{&w.q_proj, to(queries)},
                                {&w.k_proj, to(keys + before * n)},
                                {&w.v_proj, to(values + before * n)}},
                               InputsOf(w.q_proj, rows));
  project.begin = [=] {
    std::copy(history->keys.begin(), history->keys.end(), keys);
    std::copy(history->values.begin(), history->values.end(), values);
  };
  plan->push_back(std::move(project));

  const LocalAttentionShape shape = {c.conf_num_attention_heads, c.head_dim(),
                                     c.conf_attention_logit_cap};
  const ProductRows attended = InputsOf(w.post, rows);
  Phase attend = RowPhase(
      rows, 2 * c.attention_keys() * n, [=, &w](RowRange range, Lane* lane) {
        for (int64_t t = range.first; t < range.first + range.count; ++t) {
          LocalWindow window;
          window.count = std::min(before + t, most) + 1;
          const int64_t oldest = before + t + 1 - window.count;
          window.keys = keys + oldest * n;
          window.values = values + oldest * n;
          window.positions = w.positions.data();
          float* query = queries + t * n;
          LocalAttention(shape, query, w.query_scale.data(), window, query,
                         &lane->rows);
          attended.Put(t, 0, query, n);
        }
      });
  attend.end = [=] {
    Remember(keys, rows, n, most, &history->keys);
    Remember(values, rows, n, most, &history->values);
  };
  plan->push_back(std::move(attend));
  plan->push_back(ProductPhase({{&w.post, to(batch_.y)}}, attended));
}

// x + LConv(x) (§3.6). The inputs are there.
void Conformer::AppendLConv(const ConformerWeights& w, History* history,
                            bool last, std::vector<Phase>* plan) {
  const AudioConfig& c = weights_->config;
  const int64_t n = hidden(), kernel = c.conf_conv_kernel_size;
  // Row i is the block's frame i - (kernel - 1).
  auto* glu = reinterpret_cast<float*>(batch_.wide);
  Phase start = GatedProductPhase(
      w.linear_start, InputsOf(w.linear_start, batch_.frames),
      [=](const Piece& piece, const float* gate, int64_t stride) {
        const int64_t row = piece.rows.first + kernel - 1;
        GateRows(piece.values, gate, piece.rows.count, piece.columns, stride, n,
                 glu + row * n + piece.column);
      });
  start.begin = [=] {
    std::copy(history->glu.begin(), history->glu.end(), glu);
  };
  plan->push_back(std::move(start));

  const int64_t step = last ? c.conf_reduction_factor : 1;
  const int64_t first = last ? FirstToken() : 0;
  const int64_t rows = last ? Tokens() : batch_.frames;
  const ProductRows convolved = InputsOf(w.linear_end, rows);
  const ChannelNorm norm = {w.conv_norm, c.rms_norm_eps, Activation::kSilu};
  Phase convolve = RowPhase(
      rows, (kernel + kRowCost) * n, [=, &w](RowRange range, Lane* lane) {
        float* row = lane->rows.Room<float>(n);
        for (int64_t r = range.first; r < range.first + range.count; ++r) {
          const int64_t frame = first + r * step;
          CausalDepthwise(glu + frame * n, w.depthwise, kernel, n, row);
          NormRows(row, 1, n, norm, DType::kF32, row);
          convolved.Put(r, 0, row, n);
        }
      });
  convolve.end = [=, x = batch_.x, frames = batch_.frames] {
    Remember(glu, frames, n, kernel - 1, &history->glu);
    if (step == 1 && first == 0) return;
    for (int64_t r = 0; r < rows; ++r) {
      std::memmove(x + r * n, x + (first + r * step) * n, n * sizeof(float));
    }
  };
  plan->push_back(std::move(convolve));
  plan->push_back(ProductPhase(
      {{&w.linear_end,
        [n, x = batch_.x](const Piece& piece) { AddTo(piece, n, x); }}},
      convolved));
}

void Conformer::AppendEmbedder(std::vector<float>* tokens,
                               const OnRows& on_rows,
                               std::vector<Phase>* plan) {
  const AudioConfig& c = weights_->config;
  const int64_t n = hidden(), text = c.text_hidden_size, rows = Tokens();
  const int64_t first_token =
      (frames_ + c.conf_reduction_factor - 1) / c.conf_reduction_factor;
  const WeightMatrix& w = weights_->embedding_projection;
  const ChannelNorm soft = {weights_->soft_embedding_norm, c.rms_norm_eps,
                            Activation::kNone};
  const ChannelNorm plain = {nullptr, c.rms_norm_eps, Activation::kNone};
  const ProductRows in = InputsOf(w, rows);
  plan->push_back(RowPhase(
      rows, kRowCost * n, [=, x = batch_.x](RowRange range, Lane* lane) {
        float* normed = lane->rows.Room<float>(range.count * n);
        NormRows(x + range.first * n, range.count, n, soft, DType::kF32,
                 normed);
        in.PutRows(range, normed);
      }));
  plan->push_back(ProductPhase(
      {{&w,
        [text, y = batch_.y](const Piece& piece) { Place(piece, text, y); }}},
      in));
  Phase finish =
      RowPhase(rows, kRowCost * text, [=, y = batch_.y](RowRange range, Lane*) {
        float* at = y + range.first * text;
        NormRows(at, range.count, text, plain, DType::kF32, at);
      });
  finish.end = [=, x = batch_.x, y = batch_.y] {
    tokens->insert(tokens->end(), y, y + rows * text);
    if (!on_rows || rows == 0) return;
    on_rows("tower", first_token, {x, rows, n});
    on_rows("embed_audio", first_token, {y, rows, text});
  };
  plan->push_back(std::move(finish));
}

bool Conformer::PlanBatch(const float* rows, int64_t count,
                          std::vector<float>* tokens, const OnRows& on_rows,
                          std::vector<Phase>* plan) {
  const AudioConfig& c = weights_->config;
  if (!Allocate(count)) return false;
  const int64_t n = hidden();
  float* x = batch_.x;
  float* y = batch_.y;
  const auto norm = [eps = c.rms_norm_eps](const float* weight) {
    return ChannelNorm{weight, eps, Activation::kNone};
  };
  // in = RMS(x; weight)
  const auto inputs = [=](const float* weight, const ProductRows& in) {
    return [=](RowRange range, Lane* lane) {
      float* normed = lane->rows.Room<float>(range.count * n);
      NormRows(x + range.first * n, range.count, n, norm(weight), DType::kF32,
               normed);
      in.PutRows(range, normed);
    };
  };
  // x += RMS(y; weight)
  const auto add = [=](const float* weight) {
    return [=](RowRange range, Lane* /*lane*/) {
      float* at = x + range.first * n;
      NormRowsAdd(y + range.first * n, range.count, n, norm(weight), at, at);
    };
  };
  const auto on_each = [&](int64_t of, auto... steps) {
    plan->push_back(RowPhase(of, kRowCost * n, [=](RowRange range, Lane* lane) {
      (steps(range, lane), ...);
    }));
  };
  // Shows x to a test.
  const auto show = [&](std::string part) {
    if (!on_rows) return;
    plan->back().end = [=, first = frames_] {
      on_rows(part, first, {x, count, n});
    };
  };

  const WeightMatrix& project = weights_->input_proj_linear;
  const int64_t subsampled = c.subsampled_size();
  const ProductRows in = InputsOf(project, count);
  plan->push_back(
      RowPhase(count, subsampled, [=](RowRange range, Lane* /*lane*/) {
        in.PutRows(range, rows + range.first * subsampled);
      }));
  plan->push_back(ProductPhase(
      {{&project, [=](const Piece& piece) { Place(piece, n, x); }}}, in));
  show("sscp");

  const size_t blocks = weights_->conformer.size();
  const FfwWeights& ffw = weights_->conformer[0].ffw_start;
  on_each(count, inputs(ffw.pre_layer_norm, InputsOf(ffw.ffw_layer_1, count)));
  for (size_t b = 0; b < blocks; ++b) {
    const ConformerWeights& w = weights_->conformer[b];
    const bool last = b + 1 == blocks;
    AppendFfw(w.ffw_start, count, plan);
    on_each(count, add(w.ffw_start.branch_scale.data()),
            inputs(w.pre_attn_norm, InputsOf(w.q_proj, count)));
    AppendAttention(w, &history_[b], plan);
    on_each(count, add(w.post_norm),
            inputs(w.lconv_pre_layer_norm, InputsOf(w.linear_start, count)));
    AppendLConv(w, &history_[b], last, plan);
    const int64_t of = last ? Tokens() : count;
    on_each(of, inputs(w.ffw_end.pre_layer_norm,
                       InputsOf(w.ffw_end.ffw_layer_1, of)));
    AppendFfw(w.ffw_end, of, plan);
    const auto close = [=, &w](RowRange range, Lane* /*lane*/) {
      float* at = x + range.first * n;
      NormRows(at, range.count, n, norm(w.norm), DType::kF32, at);
    };
    const auto add_branch = add(w.ffw_end.branch_scale.data());
    if (last) {
      on_each(of, add_branch, close);
      break;
    }
    const FfwWeights& next = weights_->conformer[b + 1].ffw_start;
    on_each(of, add_branch, close,
            inputs(next.pre_layer_norm, InputsOf(next.ffw_layer_1, of)));
    show(absl::StrCat("conformer.", b));
  }
  AppendEmbedder(tokens, on_rows, plan);
  Phase done;
  done.end = [this, count] { frames_ += count; };
  plan->push_back(std::move(done));
  return true;
}

size_t Conformer::bytes() const {
  size_t floats = 0;
  for (const History& history : history_) {
    floats += history.keys.capacity() + history.values.capacity() +
              history.glu.capacity();
  }
  return floats * sizeof(float) +
         (batch_.memory == nullptr ? 0 : batch_.memory->size());
}

}  // namespace lapidary::kernels::audio
