// The front of the encoder (gemma3n-audio.md §1, §2): samples to mel frames,
// two strided convolutions with cumulative group norms, one row for each
// conformer frame. It goes through a clip once, in batches, and keeps what the
// next batch needs.
#ifndef LAPIDARY_KERNELS_AUDIO_SUBSAMPLING_H_
#define LAPIDARY_KERNELS_AUDIO_SUBSAMPLING_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/audio/mel.h"
#include "kernels/audio/phase.h"
#include "kernels/audio/weights.h"

namespace lapidary::kernels::audio {

// Rows of a sequence of which the oldest have been dropped.
class RowQueue {
 public:
  explicit RowQueue(int64_t width) : width_(width) {}

  int64_t begin() const { return begin_; }
  int64_t end() const { return begin_ + rows_; }
  // Row `i` of the sequence, begin() ≤ i < end(); null at and behind end().
  float* row(int64_t i) { return values_.data() + (i - begin_) * width_; }
  const float* row_or_null(int64_t i) const {
    return i < end() ? values_.data() + (i - begin_) * width_ : nullptr;
  }
  // Appends rows that hold anything; moves the others.
  void Extend(int64_t rows);
  // Drops rows before `i`, at most all.
  void DropBefore(int64_t i);

  size_t bytes() const { return values_.capacity() * sizeof(float); }

 private:
  int64_t width_;
  int64_t begin_ = 0, rows_ = 0;
  std::vector<float> values_;
};

// A norm's statistics up to a row of a clip (gemma3n-audio.md §2.2): the sum of
// all values, and of the squared distances of each to the mean of its time.
struct RunningNorm {
  int64_t rows = 0;
  double sum = 0, squares = 0;
};

class Subsampling {
 public:
  // Called with the mel frames of a batch, for tests; or empty.
  using OnRows =
      std::function<void(const char* part, int64_t first, ConstMatrixView)>;

  // Both must outlive it.
  Subsampling(const AudioWeights* weights, const MelFrontEnd* mel);

  // Appends samples; `samples` says how many the clip has now, and `finished`
  // that it has no more.
  void Push(const float* samples, int64_t count);
  void Finish();

  int64_t samples() const { return samples_; }
  bool finished() const { return finished_; }

  // Conformer frames whose rows the samples so far allow, from the clip's
  // beginning.
  int64_t FramesAllowed() const;

  // Plans the next batch; false when the samples allow none. Its phases must
  // have run before anything else is called.
  bool PlanBatch(const OnRows& on_rows, std::vector<Phase>* plan);

  // The conformer's inputs that have not been taken: row i is frame i's,
  // [bands(1)][channels of conv_1].
  RowQueue& rows() { return out_; }

  size_t bytes() const;

 private:
  // One convolution and its norm.
  struct Stage {
    Stage(const SubsampleConfig& c, int64_t in_bands, int64_t out_bands)
        : config(c), in_bands(in_bands), out_bands(out_bands) {}

    int64_t size() const { return out_bands * config.channels; }

    SubsampleConfig config;
    int64_t in_bands, out_bands;
    const float* norm = nullptr;
    RunningNorm running;
    // Of the rows of the batch: sums, and squared deviations.
    std::vector<double> sums, squares;
  };

  int64_t MelAllowed() const;
  // Rows that a stage can give when its input has `rows` rows, all of them or
  // of those so far.
  int64_t Outputs(const Stage& stage, int64_t rows, bool all) const;

  Phase MelPhase(int64_t first, int64_t count);
  Phase FirstConvPhase(int64_t first, int64_t count);
  Phase SecondConvPhase(int64_t first, int64_t count);
  // The norm of rows [first, first + count) of `queue`.
  void AppendNorm(Stage* stage, RowQueue* queue, int64_t first, int64_t count,
                  std::vector<Phase>* plan);

  const AudioWeights* weights_;
  const MelFrontEnd* mel_;
  std::vector<float> pending_;  // samples from first_pending_ on
  int64_t first_pending_ = 0;
  int64_t samples_ = 0;
  bool finished_ = false;
  Stage first_, second_;
  RowQueue mel_rows_, middle_, out_;
};

}  // namespace lapidary::kernels::audio

#endif  // LAPIDARY_KERNELS_AUDIO_SUBSAMPLING_H_
