// One sound on its way through the audio tower: samples in, as a file's or as
// they are spoken; out come the rows that stand for it in a prompt. Cuts what
// is longer than the model hears at once (storage/sound_windows.h).
//
//   SoundEncoding sound(tower, window);
//   sound.Push(samples);                 // again and again
//   while (sound.HasWork()) sound.Step();
//   sound.Finish();
//   while (!sound.done()) sound.Step();
//   sound.Rows();
//
// or, where several are encoded together, with an AudioBatch of what each has
// Next() in place of Step().
//
// However the samples come, the rows are the same. Where a live sound could be
// cut it is encoded twice from there on, once as if it went on and once as if a
// window began, until it is known whether it is longer than a window.
#ifndef LAPIDARY_ACTORS_SOUND_ENCODING_H_
#define LAPIDARY_ACTORS_SOUND_ENCODING_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/audio/tower.h"
#include "kernels/tensor.h"
#include "storage/model_config.h"
#include "storage/sound_windows.h"

namespace lapidary {

// What stands for one window in a prompt.
struct SoundWindow {
  int64_t samples = 0;      // that it may have
  int64_t soft_tokens = 0;  // places; those that are left get the padding row
  // Row of the embedder's table for the token that ends a sound, where that is
  // the tower's; -1: it is a text token.
  int64_t end_row = -1;

  int64_t rows() const { return soft_tokens + (end_row >= 0 ? 1 : 0); }
  // That a sound of so many samples may become: no window is cut in its first
  // four fifths (storage/sound_windows.h).
  int64_t most_windows(int64_t of_samples) const {
    return of_samples / (samples * 4 / 5) + 1;
  }
};

// What a window of this model's sounds is; FAILED_PRECONDITION for a
// config.json in which tower and text model do not fit each other.
absl::StatusOr<SoundWindow> SoundWindowOf(const ModelConfig& config);

class SoundEncoding {
 public:
  // Fewer frames than so many wait for others while a sound is live: a batch
  // costs a reading of all weights. 480 ms.
  static constexpr int64_t kBatchFrames = 12;
  static constexpr int64_t kAll = std::numeric_limits<int64_t>::max();

  // `tower` must outlive it.
  SoundEncoding(kernels::audio::AudioTower* tower, const SoundWindow& window);
  // It has pointers to its own parts, and so may a batch.
  SoundEncoding(const SoundEncoding&) = delete;
  SoundEncoding& operator=(const SoundEncoding&) = delete;

  void Push(absl::Span<const float> samples);
  // Takes over a whole sound, which is finished with it.
  void PushAll(std::vector<float> samples);
  void Finish();

  // Whether Step has something to do now.
  //   frames  fewer are left to wait
  bool HasWork(int64_t frames = kBatchFrames) const;
  // Does some milliseconds of it. Errors: those of AudioState::Push. Throws
  // std::bad_alloc.
  absl::Status Step();

  // The clip whose steps come next; the caller has them all done, with others'
  // or alone, before it asks for the next one, and Step is not called. Null
  // where it is done. Errors: those of AudioState::Push. Throws std::bad_alloc.
  //   most  samples that it may take of those that wait
  absl::StatusOr<kernels::audio::AudioState*> Next(int64_t most = kAll);

  // Puts the rows together once all steps of a finished sound are done, which
  // else waits for Next; returns whether it is done.
  bool EndIfEncoded();

  bool done() const { return done_; }
  int64_t samples() const { return samples_; }  // pushed so far
  int64_t waiting_samples() const;              // of them, not encoded yet
  int64_t tokens() const;                       // so far, before padding
  int64_t windows() const { return windows_; }  // that are complete
  size_t bytes() const;                         // that it holds

  // Soft tokens of the first window from number `first` on, as far as they are
  // there; empty for none, once that window is complete, or without memory.
  kernels::Tensor FirstWindowFrom(int64_t first) const;

  // When it is done: [windows][window.rows()][text_hidden_size], as one matrix.
  absl::StatusOr<kernels::Tensor> Rows() const;

 private:
  using AudioState = kernels::audio::AudioState;

  // Moves samples that wait to where they are encoded, up to the next place
  // where something has to be decided, and at most `most`.
  absl::Status Feed(int64_t most);
  // The next `count` of them.
  absl::Status Move(int64_t count);
  // The window ends with the samples so far, or where it was forked.
  void EndWindow();
  void Append(const AudioState& window);
  int64_t waiting() const {
    return static_cast<int64_t>(pending_.size() - taken_);
  }

  kernels::audio::AudioTower* tower_;
  const SoundWindow window_;
  std::vector<float> pending_;  // samples, those before `taken_` are moved
  size_t taken_ = 0;
  int64_t samples_ = 0;
  bool finished_ = false, done_ = false;

  AudioState state_;  // of the window at hand
  QuietMoment moment_;
  bool fork_wanted_ = false;        // once state_ has nothing left to do
  std::optional<AudioState> fork_;  // where the window may be cut
  std::vector<float> since_fork_;
  std::optional<AudioState> ending_;  // a window's last steps
  AudioState* stepping_ = nullptr;    // what Step has more to do of

  std::vector<float> rows_;  // of windows that are complete
  int64_t windows_ = 0;
  int64_t tokens_ = 0;  // of them
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_SOUND_ENCODING_H_
