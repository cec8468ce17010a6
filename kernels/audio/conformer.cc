#include "kernels/audio/conformer.h"

#include <algorithm>
#include <cstring>
#include <functional>
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
//   row_of  where a row of the batch lies in it
template <class RowOf>
void PlaceAt(const Piece& piece, int64_t stride, const RowOf& row_of,
             float* matrix) {
  for (int64_t r = 0; r < piece.rows.count; ++r) {
    std::memcpy(matrix + row_of(piece.rows.first + r) * stride + piece.column,
                piece.values + r * piece.columns,
                piece.columns * sizeof(float));
  }
}

// A product's output that goes to a matrix of `stride` columns, row by row.
std::function<void(const Piece&)> PlaceIn(float* matrix, int64_t stride) {
  return [=](const Piece& piece) {
    PlaceAt(
        piece, stride, [](int64_t row) { return row; }, matrix);
  };
}

void AddTo(const Piece& piece, int64_t stride, float* matrix) {
  for (int64_t r = 0; r < piece.rows.count; ++r) {
    float* row = matrix + (piece.rows.first + r) * stride + piece.column;
    ScaleRowsAdd(piece.values + r * piece.columns, 1, piece.columns, nullptr,
                 row, row);
  }
}

// The newest rows of `history` and then of `rows`, as many as history may have.
//   rows  [history's rows + count][width]: history's, then the new ones
void Remember(const float* rows, int64_t count, int64_t width, int64_t most,
              std::vector<float>* history) {
  const auto before = static_cast<int64_t>(history->size()) / width;
  const int64_t keep = std::min(most, before + count);
  history->assign(rows + (before + count - keep) * width,
                  rows + (before + count) * width);
}

}  // namespace

ConformerPast::ConformerPast(const AudioWeights& weights)
    : blocks_(weights.conformer.size()) {
  const AudioConfig& c = weights.config;
  for (Block& block : blocks_) {
    // Attention leaves frames out that are not there; the convolution reads
    // zeros.
    block.glu.assign((c.conf_conv_kernel_size - 1) * c.hidden_size, 0.0f);
  }
}

size_t ConformerPast::bytes() const {
  size_t floats = 0;
  for (const Block& block : blocks_) {
    floats +=
        block.keys.capacity() + block.values.capacity() + block.glu.capacity();
  }
  return floats * sizeof(float);
}

void ConformerBatch::PlaceClips(const std::vector<ConformerInput>& inputs) {
  const AudioConfig& c = weights_->config;
  const int64_t factor = c.conf_reduction_factor;
  for (const ConformerInput& input : inputs) {
    Clip clip;
    clip.input = input;
    clip.first = frames_;
    clip.past_keys = std::min(input.past->frames_, c.attention_keys() - 1);
    clip.keys_before = key_rows_ + clip.past_keys;
    clip.first_token = tokens();
    // Every factor-th frame of the clip becomes a token.
    const int64_t skipped = (factor - input.past->frames_ % factor) % factor;
    for (int64_t row = skipped; row < input.count; row += factor) {
      token_rows_.push_back(frames_ + row);
    }
    clip.tokens = tokens() - clip.first_token;
    clip_of_.insert(clip_of_.end(), input.count,
                    static_cast<int32_t>(clips_.size()));
    frames_ += input.count;
    key_rows_ += clip.past_keys + input.count;
    clips_.push_back(clip);
  }
}

int64_t ConformerBatch::GluRow(int64_t row) const {
  const int64_t taps = weights_->config.conf_conv_kernel_size - 1;
  return row + (clip_of_[row] + 1) * taps;
}

bool ConformerBatch::Allocate() {
  const AudioConfig& c = weights_->config;
  const ConformerWeights& block = weights_->conformer[0];
  const size_t f32 = sizeof(float);
  const size_t x = Aligned(frames_ * hidden() * f32);
  const size_t y =
      Aligned(frames_ * std::max(hidden(), c.text_hidden_size) * f32);
  const size_t in =
      Aligned(std::max(ProductRows::Bytes(weights_->input_proj_linear, frames_),
                       ProductRows::Bytes(block.q_proj, frames_)));
  const auto clips = static_cast<int64_t>(clips_.size());
  const int64_t glu_rows = frames_ + clips * (c.conf_conv_kernel_size - 1);
  const size_t wide = Aligned(std::max<size_t>(
      ProductRows::Bytes(block.ffw_start.ffw_layer_2, frames_),
      std::max(frames_ + 2 * key_rows_, glu_rows) * hidden() * f32));
  memory_ = AlignedBuffer::Make(x + y + in + wide);
  if (memory_ == nullptr) return false;
  // oneDNN multiplies rows behind the batch's and throws them away.
  std::memset(memory_->data(), 0, memory_->size());
  std::byte* at = memory_->data();
  x_ = reinterpret_cast<float*>(at);
  y_ = reinterpret_cast<float*>(at + x);
  in_ = at + x + y;
  wide_ = at + x + y + in;
  return true;
}

void ConformerBatch::AppendInputProjection(std::vector<Phase>* plan) {
  const WeightMatrix& w = weights_->input_proj_linear;
  const int64_t width = weights_->config.subsampled_size();
  const ProductRows in = InputsOf(w, frames_);
  plan->push_back(RowPhase(frames_, width, [=](RowRange range, Lane* /*lane*/) {
    for (int64_t r = range.first; r < range.first + range.count; ++r) {
      const Clip& clip = ClipOf(r);
      in.PutRows({r, 1}, clip.input.rows + (r - clip.first) * width);
    }
  }));
  plan->push_back(ProductPhase({{&w, PlaceIn(x_, hidden())}}, in));
}

// x + weight · RMS(W2 silu(W1 RMS(x))), up to the second product, whose results
// are in y (gemma3n-audio.md §3.4). The inputs are there.
void ConformerBatch::AppendFfw(const FfwWeights& w, int64_t rows,
                               std::vector<Phase>* plan) {
  const ProductRows middle(w.ffw_layer_2, rows, wide_);
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
  plan->push_back(
      ProductPhase({{&w.ffw_layer_2, PlaceIn(y_, hidden())}}, middle));
}

// W_post · Attention(·), whose results are in y (§3.5).
void ConformerBatch::AppendAttention(size_t block, std::vector<Phase>* plan) {
  const AudioConfig& c = weights_->config;
  const ConformerWeights& w = weights_->conformer[block];
  const int64_t n = hidden();
  const int64_t most = c.attention_keys() - 1;
  auto* queries = reinterpret_cast<float*>(wide_);
  float* keys = queries + frames_ * n;
  float* values = keys + key_rows_ * n;
  // Where a row's own key is.
  const auto key_row = [this](int64_t row) {
    const Clip& clip = ClipOf(row);
    return clip.keys_before + row - clip.first;
  };
  const auto to_keys = [=](float* matrix) {
    return [=](const Piece& piece) { PlaceAt(piece, n, key_row, matrix); };
  };
  Phase project = ProductPhase({{&w.q_proj, PlaceIn(queries, n)},
                                {&w.k_proj, to_keys(keys)},
                                {&w.v_proj, to_keys(values)}},
                               InputsOf(w.q_proj, frames_));
  project.begin = [=] {
    for (const Clip& clip : clips_) {
      const ConformerPast::Block& past = *PastOf(clip, block);
      const int64_t at = (clip.keys_before - clip.past_keys) * n;
      std::copy(past.keys.begin(), past.keys.end(), keys + at);
      std::copy(past.values.begin(), past.values.end(), values + at);
    }
  };
  plan->push_back(std::move(project));

  const LocalAttentionShape shape = {c.conf_num_attention_heads, c.head_dim(),
                                     c.conf_attention_logit_cap};
  const ProductRows attended = InputsOf(w.post, frames_);
  Phase attend = RowPhase(
      frames_, 2 * c.attention_keys() * n, [=, &w](RowRange range, Lane* lane) {
        for (int64_t r = range.first; r < range.first + range.count; ++r) {
          const Clip& clip = ClipOf(r);
          LocalWindow window;
          window.count = std::min(clip.past_keys + r - clip.first, most) + 1;
          const int64_t oldest = key_row(r) + 1 - window.count;
          window.keys = keys + oldest * n;
          window.values = values + oldest * n;
          window.positions = w.positions.data();
          float* query = queries + r * n;
          LocalAttention(shape, query, w.query_scale.data(), window, query,
                         &lane->rows);
          attended.Put(r, 0, query, n);
        }
      });
  attend.end = [=] {
    for (const Clip& clip : clips_) {
      ConformerPast::Block* past = PastOf(clip, block);
      const int64_t at = (clip.keys_before - clip.past_keys) * n;
      Remember(keys + at, clip.input.count, n, most, &past->keys);
      Remember(values + at, clip.input.count, n, most, &past->values);
    }
  };
  plan->push_back(std::move(attend));
  plan->push_back(ProductPhase({{&w.post, PlaceIn(y_, hidden())}}, attended));
}

// x + LConv(x) (§3.6). The inputs are there.
void ConformerBatch::AppendLConv(size_t block, std::vector<Phase>* plan) {
  const AudioConfig& c = weights_->config;
  const ConformerWeights& w = weights_->conformer[block];
  const int64_t n = hidden(), kernel = c.conf_conv_kernel_size;
  auto* glu = reinterpret_cast<float*>(wide_);
  Phase start = GatedProductPhase(
      w.linear_start, InputsOf(w.linear_start, frames_),
      [=](const Piece& piece, const float* gate, int64_t stride) {
        for (int64_t r = 0; r < piece.rows.count; ++r) {
          GateRows(piece.values + r * stride, gate + r * stride, 1,
                   piece.columns, stride, n,
                   glu + GluRow(piece.rows.first + r) * n + piece.column);
        }
      });
  start.begin = [=] {
    for (const Clip& clip : clips_) {
      const std::vector<float>& past = PastOf(clip, block)->glu;
      float* first = glu + GluRow(clip.first) * n;
      std::copy(past.begin(), past.end(), first - past.size());
    }
  };
  plan->push_back(std::move(start));

  const bool last = IsLast(block);
  const int64_t rows = last ? tokens() : frames_;
  const ProductRows convolved = InputsOf(w.linear_end, rows);
  const ChannelNorm norm = {w.conv_norm, c.rms_norm_eps, Activation::kSilu};
  Phase convolve = RowPhase(
      rows, (kernel + kRowCost) * n, [=, &w](RowRange range, Lane* lane) {
        float* row = lane->rows.Room<float>(n);
        for (int64_t r = range.first; r < range.first + range.count; ++r) {
          const int64_t oldest =
              GluRow(last ? token_rows_[r] : r) - (kernel - 1);
          CausalDepthwise(glu + oldest * n, w.depthwise, kernel, n, row);
          NormRows(row, 1, n, norm, DType::kF32, row);
          convolved.Put(r, 0, row, n);
        }
      });
  convolve.end = [=, x = x_] {
    for (const Clip& clip : clips_) {
      Remember(glu + (GluRow(clip.first) - (kernel - 1)) * n, clip.input.count,
               n, kernel - 1, &PastOf(clip, block)->glu);
    }
    for (int64_t r = 0; last && r < rows; ++r) {
      std::memmove(x + r * n, x + token_rows_[r] * n, n * sizeof(float));
    }
  };
  plan->push_back(std::move(convolve));
  plan->push_back(
      ProductPhase({{&w.linear_end,
                     [n, x = x_](const Piece& piece) { AddTo(piece, n, x); }}},
                   convolved));
}

void ConformerBatch::AppendEmbedder(const OnRows& on_rows,
                                    std::vector<Phase>* plan) {
  const AudioConfig& c = weights_->config;
  const int64_t n = hidden(), text = c.text_hidden_size;
  const int64_t factor = c.conf_reduction_factor;
  const WeightMatrix& w = weights_->embedding_projection;
  const ChannelNorm soft = {weights_->soft_embedding_norm, c.rms_norm_eps,
                            Activation::kNone};
  const ChannelNorm plain = {nullptr, c.rms_norm_eps, Activation::kNone};
  const ProductRows in = InputsOf(w, tokens());
  plan->push_back(
      RowPhase(tokens(), kRowCost * n, [=, x = x_](RowRange range, Lane* lane) {
        float* normed = lane->rows.Room<float>(range.count * n);
        NormRows(x + range.first * n, range.count, n, soft, DType::kF32,
                 normed);
        in.PutRows(range, normed);
      }));
  plan->push_back(ProductPhase({{&w, PlaceIn(y_, text)}}, in));
  Phase finish =
      RowPhase(tokens(), kRowCost * text, [=, y = y_](RowRange range, Lane*) {
        float* at = y + range.first * text;
        NormRows(at, range.count, text, plain, DType::kF32, at);
      });
  finish.end = [=, x = x_, y = y_] {
    for (const Clip& clip : clips_) {
      const float* rows = y + clip.first_token * text;
      clip.input.tokens->insert(clip.input.tokens->end(), rows,
                                rows + clip.tokens * text);
      if (!on_rows || clip.tokens == 0) continue;
      const int64_t first = (clip.input.past->frames_ + factor - 1) / factor;
      on_rows("tower", first, {x + clip.first_token * n, clip.tokens, n});
      on_rows("embed_audio", first, {rows, clip.tokens, text});
    }
  };
  plan->push_back(std::move(finish));
}

bool ConformerBatch::Plan(const std::vector<ConformerInput>& inputs,
                          const OnRows& on_rows, std::vector<Phase>* plan) {
  End();
  PlaceClips(inputs);
  if (!Allocate()) return false;
  const int64_t n = hidden();
  float* x = x_;
  float* y = y_;
  const auto norm = [eps = weights_->config.rms_norm_eps](const float* weight) {
    return ChannelNorm{weight, eps, Activation::kNone};
  };
  // in = RMS(x; weight)
  const auto inputs_of = [=](const float* weight, const ProductRows& in) {
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
  const auto show = [&](const std::string& part) {
    if (!on_rows) return;
    plan->back().end = [=] {
      for (const Clip& clip : clips_) {
        on_rows(part, clip.input.past->frames_,
                {x + clip.first * n, clip.input.count, n});
      }
    };
  };

  AppendInputProjection(plan);
  show("sscp");
  const FfwWeights& ffw = weights_->conformer[0].ffw_start;
  on_each(frames_,
          inputs_of(ffw.pre_layer_norm, InputsOf(ffw.ffw_layer_1, frames_)));
  for (size_t b = 0; b < weights_->conformer.size(); ++b) {
    const ConformerWeights& w = weights_->conformer[b];
    AppendFfw(w.ffw_start, frames_, plan);
    on_each(frames_, add(w.ffw_start.branch_scale.data()),
            inputs_of(w.pre_attn_norm, InputsOf(w.q_proj, frames_)));
    AppendAttention(b, plan);
    on_each(
        frames_, add(w.post_norm),
        inputs_of(w.lconv_pre_layer_norm, InputsOf(w.linear_start, frames_)));
    AppendLConv(b, plan);
    const int64_t of = IsLast(b) ? tokens() : frames_;
    on_each(of, inputs_of(w.ffw_end.pre_layer_norm,
                          InputsOf(w.ffw_end.ffw_layer_1, of)));
    AppendFfw(w.ffw_end, of, plan);
    const auto close = [=, &w](RowRange range, Lane* /*lane*/) {
      float* at = x + range.first * n;
      NormRows(at, range.count, n, norm(w.norm), DType::kF32, at);
    };
    const auto add_branch = add(w.ffw_end.branch_scale.data());
    if (IsLast(b)) {
      on_each(of, add_branch, close);
      break;
    }
    const FfwWeights& next = weights_->conformer[b + 1].ffw_start;
    on_each(of, add_branch, close,
            inputs_of(next.pre_layer_norm, InputsOf(next.ffw_layer_1, of)));
    show(absl::StrCat("conformer.", b));
  }
  AppendEmbedder(on_rows, plan);
  Phase done;
  done.end = [this] {
    for (const Clip& clip : clips_) {
      clip.input.past->frames_ += clip.input.count;
    }
  };
  plan->push_back(std::move(done));
  return true;
}

}  // namespace lapidary::kernels::audio
