// The sound encoder: samples in, soft tokens out, while the sound still comes
// or from a whole clip; it is the same code and gives the same numbers.
//
//   AudioTower tower(weights);
//   AudioState clip(&tower);
//   clip.Push(samples, count);            // again and again, in any pieces
//   while (clip.Step()) { …decode a token… }
//   Use(clip.soft_tokens());              // those that are final by now
//   clip.Finish();                        // no more samples
//   while (clip.Step()) {}
//   Use(clip.soft_tokens());              // all: config.SoftTokens(samples)
//
// Push only keeps samples; Step computes, a slice of some milliseconds at a
// time, so that whoever owns the thread can do other things between two. The
// steps of several clips may be interleaved in any way. All frames that are
// there when their turn comes go through the conformer as one batch, whose cost
// is that of reading the weights once plus that of the frames: push 480 ms or
// more at a time where latency allows (gemma3n-audio.md §7.2, §8.1), and have
// clips that wait at the same time share a batch:
//
//   AudioBatch batch(&tower, {&a, &b});
//   while (batch.Step()) { …decode a token… }
//
// One AudioTower and its states belong to one thread and the team that works
// for it (kernels/parallel.h); weights may be shared.
#ifndef LAPIDARY_KERNELS_AUDIO_TOWER_H_
#define LAPIDARY_KERNELS_AUDIO_TOWER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/audio/config.h"
#include "kernels/audio/weights.h"
#include "kernels/tensor.h"

namespace lapidary::kernels::audio {

struct AudioTowerOptions {
  // Multiply-adds of a step, about; 5 ms on a machine of 400 GFLOP/s.
  int64_t step_macs = int64_t{1} << 30;
  // Called after each part ("mel", "sscp", "conformer.0", "conformer.1", …,
  // "tower", "embed_audio") with what it made of a batch, valid during the
  // call; for tests.
  //   first  number of the first row in the clip (a mel frame, a conformer
  //          frame, a token)
  std::function<void(const std::string& part, int64_t first,
                     ConstMatrixView rows)>
      on_part;
};

// What all clips share: weights, tables and each compute thread's scratch
// memory.
class AudioTower {
 public:
  explicit AudioTower(std::shared_ptr<const AudioWeights> weights,
                      AudioTowerOptions options = {});
  ~AudioTower();
  AudioTower(const AudioTower&) = delete;
  AudioTower& operator=(const AudioTower&) = delete;

  const AudioConfig& config() const { return weights_->config; }
  const AudioWeights& weights() const { return *weights_; }

  // Bytes of scratch memory so far; clips' own are AudioState::bytes().
  size_t ScratchBytes() const;

 private:
  friend class AudioBatch;
  friend class AudioState;
  struct Impl;

  std::shared_ptr<const AudioWeights> weights_;
  std::unique_ptr<Impl> impl_;
};

class AudioBatch;

// One clip in progress. At the published shape about 2.5 MB between batches,
// and in a batch 0.1 MB for each frame of 40 ms.
class AudioState {
 public:
  // `tower` must outlive it.
  explicit AudioState(AudioTower* tower);
  ~AudioState();
  AudioState(AudioState&&) noexcept;
  AudioState& operator=(AudioState&&) noexcept;

  // A second state of the same samples, so that a clip may end here in one and
  // go on in the other. FAILED_PRECONDITION while Step, or the batch that the
  // clip is in, has more to do.
  absl::StatusOr<AudioState> Fork() const;

  // Appends samples: 16 kHz, mono, full scale 1.
  //
  // Errors: INVALID_ARGUMENT where one is not a number or beyond ±1e6;
  // OUT_OF_RANGE beyond config.mel.max_samples; FAILED_PRECONDITION after
  // Finish. Nothing is taken then.
  absl::Status Push(const float* samples, int64_t count);

  // Says that the clip ends here; fills it up to a multiple of
  // pad_to_multiple_of. A second call does nothing.
  void Finish();

  // Does the next slice of what the samples so far allow; false when there is
  // nothing left to do but to wait for samples, or at the end. Throws
  // std::bad_alloc where there is no memory, as a vector would. An AudioBatch
  // of this clip alone, for a clip that is in no other.
  bool Step();

  int64_t samples() const;  // pushed so far
  bool finished() const;    // Finish was called
  bool done() const;        // and all of its tokens are there
  int64_t tokens() const;   // so far; they are final

  // Conformer frames (40 ms) that the samples so far allow and that are not
  // encoded: those that Step would take together.
  int64_t waiting_frames() const;

  // All soft tokens so far, in the text model's width: they replace embeddings
  // as they are. Valid until the next Step.
  //   [tokens()][text_hidden_size]
  ConstMatrixView soft_tokens() const;

  // Bytes that the clip holds; without those of a batch with others.
  size_t bytes() const;

 private:
  friend class AudioBatch;
  struct Impl;
  explicit AudioState(std::shared_ptr<Impl> impl);

  std::shared_ptr<Impl> impl_;
  std::unique_ptr<AudioBatch> alone_;  // while Step has more to do
};

// Clips whose frames go through the conformer together, so that its weights are
// read once for all of them. Each clip's numbers are those that it has alone.
class AudioBatch {
 public:
  // Of clips of `tower` that are in no other batch. Samples that are pushed to
  // one meanwhile are taken with its next frames. A clip may be destroyed, and
  // is left out from then on. Of a batch that is destroyed before its end, or
  // whose Step throws, the clips are lost.
  AudioBatch(AudioTower* tower, const std::vector<AudioState*>& clips);
  ~AudioBatch();
  AudioBatch(const AudioBatch&) = delete;
  AudioBatch& operator=(const AudioBatch&) = delete;

  // As AudioState::Step, of all clips; false when none has anything left to do.
  bool Step();

  size_t bytes() const;  // that it holds

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The text embedding of hard token `vocab_offset + row` (gemma3n-audio.md
// §5.2). Row 0 ends a sound; config.padding_row() fills the positions behind a
// clip's soft tokens, up to audio_soft_tokens_per_image of them.
//   out  [text_hidden_size]
void EmbedHardToken(const AudioWeights& weights, int64_t row, float* out);

}  // namespace lapidary::kernels::audio

#endif  // LAPIDARY_KERNELS_AUDIO_TOWER_H_
