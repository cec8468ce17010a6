#include "kernels/audio/subsampling.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/conv/one_channel.h"
#include "kernels/simd/channel_ops.h"
#include "kernels/simd/group_ops.h"

namespace lapidary::kernels::audio {
namespace {

// Mel frames of a batch. What it makes of them at the published shape, 32 rows
// of 64 x 128 values, fits a core's second cache.
constexpr int64_t kBatchFrames = 64;

// What a value of a norm's passes costs, in multiply-adds.
constexpr int64_t kNormCost = 4;
// A mel frame costs about as much as so many multiply-adds of a product.
constexpr int64_t kMelCost = int64_t{1} << 20;

}  // namespace

void RowQueue::Extend(int64_t rows) {
  rows_ += rows;
  if (static_cast<int64_t>(values_.size()) < rows_ * width_) {
    values_.resize(rows_ * width_);
  }
}

void RowQueue::DropBefore(int64_t i) {
  const int64_t count = std::clamp<int64_t>(i - begin_, 0, rows_);
  if (count == 0) return;
  std::memmove(values_.data(), values_.data() + count * width_,
               (rows_ - count) * width_ * sizeof(float));
  begin_ += count;
  rows_ -= count;
}

Subsampling::Subsampling(const AudioWeights* weights, const MelFrontEnd* mel)
    : weights_(weights),
      mel_(mel),
      first_(weights->config.sscp_conv[0], weights->config.mel.feature_size,
             weights->config.bands(0)),
      second_(weights->config.sscp_conv[1], weights->config.bands(0),
              weights->config.bands(1)),
      mel_rows_(weights->config.mel.feature_size),
      middle_(first_.size()),
      out_(second_.size()) {
  first_.norm = weights->conv_0_norm;
  second_.norm = weights->conv_1_norm;
}

void Subsampling::Push(const float* samples, int64_t count) {
  pending_.insert(pending_.end(), samples, samples + count);
  samples_ += count;
}

void Subsampling::Finish() {
  finished_ = true;
  const int64_t multiple = weights_->config.mel.pad_to_multiple_of;
  const int64_t padded = (samples_ + multiple - 1) / multiple * multiple;
  pending_.resize(padded - first_pending_, 0.0f);
}

int64_t Subsampling::MelAllowed() const {
  const MelConfig& mel = weights_->config.mel;
  return finished_ ? mel.Frames(samples_) : mel.FramesBefore(samples_);
}

int64_t Subsampling::Outputs(const Stage& stage, int64_t rows, bool all) const {
  const SubsampleConfig& c = stage.config;
  if (all) return c.OutputRows(rows);
  return rows < c.time_kernel ? 0 : (rows - c.time_kernel) / c.time_stride + 1;
}

int64_t Subsampling::FramesAllowed() const {
  const int64_t middle = Outputs(first_, MelAllowed(), finished_);
  return Outputs(second_, middle, finished_);
}

Phase Subsampling::MelPhase(int64_t first, int64_t count) {
  Phase phase;
  phase.items = count;
  phase.macs = count * kMelCost;
  phase.run = [this, first](int64_t item, Lane* lane) {
    const int64_t frame = first + item;
    const int64_t at = frame * weights_->config.mel.hop_length - first_pending_;
    mel_->Frame(pending_.data() + at, mel_rows_.row(frame), &lane->rows);
  };
  phase.end = [this, first, count] {
    const int64_t next = (first + count) * weights_->config.mel.hop_length;
    const auto used = std::min<int64_t>(next - first_pending_,
                                        static_cast<int64_t>(pending_.size()));
    // Not each time: a whole clip's samples would be moved again and again.
    if (used < static_cast<int64_t>(pending_.size()) / 2) return;
    pending_.erase(pending_.begin(), pending_.begin() + used);
    first_pending_ += used;
  };
  return phase;
}

Phase Subsampling::FirstConvPhase(int64_t first, int64_t count) {
  const SubsampleConfig& c = first_.config;
  Phase phase;
  phase.items = count;
  phase.macs = count * first_.size() * c.time_kernel * c.frequency_kernel;
  phase.run = [this, first](int64_t item, Lane* /*lane*/) {
    const SubsampleConfig& c = first_.config;
    std::vector<const float*> in(c.time_kernel);
    for (int64_t a = 0; a < c.time_kernel; ++a) {
      in[a] = mel_rows_.row_or_null((first + item) * c.time_stride + a);
    }
    float* out = middle_.row(first + item);
    ConvolveOneChannel(in.data(), first_.in_bands,
                       {c.time_kernel, c.frequency_kernel, c.frequency_stride},
                       weights_->conv_0, first_.out_bands, c.channels, out);
    first_.sums[item] = SumOf(out, first_.size());
  };
  return phase;
}

// As a product of all windows of an output row, whatever the batch, so that
// one row's numbers cannot depend on it.
Phase Subsampling::SecondConvPhase(int64_t first, int64_t count) {
  const SubsampleConfig& c = second_.config;
  Phase phase;
  phase.items = count;
  phase.macs = count * second_.size() * weights_->conv_1.k();
  phase.run = [this, first, c](int64_t item, Lane* lane) {
    const int64_t channels = first_.config.channels;
    const int64_t k = weights_->conv_1.k();
    float* windows = lane->inputs.Room<float>(second_.out_bands * k);
    float* to = windows;
    for (int64_t f = 0; f < second_.out_bands; ++f) {
      for (int64_t a = 0; a < c.time_kernel; ++a) {
        const float* row =
            middle_.row_or_null((first + item) * c.time_stride + a);
        for (int64_t b = 0; b < c.frequency_kernel; ++b, to += channels) {
          const int64_t band = f * c.frequency_stride + b - 1;
          if (row == nullptr || band < 0 || band >= second_.in_bands) {
            std::fill(to, to + channels, 0.0f);
          } else {
            std::memcpy(to, row + band * channels, channels * sizeof(float));
          }
        }
      }
    }
    Convert(windows, second_.out_bands * k,
            SourceType(FormOf(weights_->conv_1)), windows);
    float* out = out_.row(first + item);
    lane->products.Multiply(weights_->conv_1, second_.out_bands, windows, out);
    second_.sums[item] = SumOf(out, second_.size());
  };
  return phase;
}

// The mean of a row is that of all rows up to it, and so is the variance, of
// which each row's part is measured from the mean of its time. The sums of the
// rows before it are added one by one, so that every cutting into batches adds
// in the same order.
void Subsampling::AppendNorm(Stage* stage, RowQueue* queue, int64_t first,
                             int64_t count, std::vector<Phase>* plan) {
  const auto mean_at = [stage](int64_t item) {
    double sum = stage->running.sum;
    for (int64_t i = 0; i <= item; ++i) sum += stage->sums[i];
    const int64_t values = (stage->running.rows + item + 1) * stage->size();
    return sum / static_cast<double>(values);
  };
  Phase deviations;
  deviations.items = count;
  deviations.macs = count * stage->size() * kNormCost;
  deviations.run = [=](int64_t item, Lane* /*lane*/) {
    stage->squares[item] = SquaredDeviations(queue->row(first + item),
                                             stage->size(), mean_at(item));
  };
  plan->push_back(std::move(deviations));

  Phase norm;
  norm.items = count;
  norm.macs = count * stage->size() * kNormCost;
  const double eps = weights_->config.sscp_conv_group_norm_eps;
  norm.run = [=](int64_t item, Lane* /*lane*/) {
    double squares = stage->running.squares;
    for (int64_t i = 0; i <= item; ++i) squares += stage->squares[i];
    const int64_t values = (stage->running.rows + item + 1) * stage->size();
    const double variance = squares / static_cast<double>(values);
    const double inverse = 1.0 / std::sqrt(variance + eps);
    float* row = queue->row(first + item);
    NormRelu(row, stage->out_bands, stage->config.channels,
             static_cast<float>(mean_at(item)), static_cast<float>(inverse),
             stage->norm, row);
  };
  norm.end = [=] {
    for (int64_t i = 0; i < count; ++i) {
      stage->running.sum += stage->sums[i];
      stage->running.squares += stage->squares[i];
    }
    stage->running.rows += count;
  };
  plan->push_back(std::move(norm));
}

bool Subsampling::PlanBatch(const OnRows& on_rows, std::vector<Phase>* plan) {
  // What this batch brings each sequence to.
  const int64_t mel_first = mel_rows_.end();
  const int64_t mel_end = std::min(MelAllowed(), mel_first + kBatchFrames);
  const bool all_mel = finished_ && mel_end == MelAllowed();
  const int64_t middle_first = middle_.end();
  const int64_t middle_end =
      std::max(middle_first, Outputs(first_, mel_end, all_mel));
  const int64_t out_first = out_.end();
  const int64_t out_end =
      std::max(out_first, Outputs(second_, middle_end, all_mel));
  if (mel_end == mel_first && middle_end == middle_first &&
      out_end == out_first) {
    return false;
  }
  mel_rows_.Extend(mel_end - mel_first);
  middle_.Extend(middle_end - middle_first);
  out_.Extend(out_end - out_first);
  first_.sums.resize(middle_end - middle_first);
  first_.squares.resize(middle_end - middle_first);
  second_.sums.resize(out_end - out_first);
  second_.squares.resize(out_end - out_first);

  plan->push_back(MelPhase(mel_first, mel_end - mel_first));
  plan->push_back(FirstConvPhase(middle_first, middle_end - middle_first));
  AppendNorm(&first_, &middle_, middle_first, middle_end - middle_first, plan);
  plan->push_back(SecondConvPhase(out_first, out_end - out_first));
  AppendNorm(&second_, &out_, out_first, out_end - out_first, plan);
  Phase last;
  last.end = [=] {
    if (on_rows && mel_end > mel_first) {
      on_rows("mel", mel_first,
              {mel_rows_.row(mel_first), mel_end - mel_first,
               weights_->config.mel.feature_size});
    }
    mel_rows_.DropBefore(middle_end * first_.config.time_stride);
    middle_.DropBefore(out_end * second_.config.time_stride);
  };
  plan->push_back(std::move(last));
  return true;
}

size_t Subsampling::bytes() const {
  return pending_.capacity() * sizeof(float) + mel_rows_.bytes() +
         middle_.bytes() + out_.bytes();
}

}  // namespace lapidary::kernels::audio
