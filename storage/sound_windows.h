// Where a sound is cut that is longer than the model hears at once.
//
// A window ends at the first quiet moment of its last sixth (25 s of 30), or at
// its end; but only if the sound goes on beyond that end: what fits one window
// is never cut. Quiet are 200 ms whose power is a hundredth of the window's so
// far, at most. It depends on the samples alone, and not on how they come.
#ifndef LAPIDARY_STORAGE_SOUND_WINDOWS_H_
#define LAPIDARY_STORAGE_SOUND_WINDOWS_H_

#include <array>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/audio/config.h"

namespace lapidary {

// Looks for the quiet moment in the samples of one window, as they come.
class QuietMoment {
 public:
  explicit QuietMoment(int64_t window_samples) : window_(window_samples) {}

  // Takes no more than the samples up to next(): there it has to be asked.
  void Take(absl::Span<const float> samples);

  int64_t samples() const { return samples_; }  // taken so far
  int64_t next() const;  // where the window may be cut next
  bool IsHere() const;   // the window may be cut behind the samples so far

 private:
  static constexpr int64_t kBlock = 320;  // 20 ms
  static constexpr int64_t kBlocks = 10;
  static constexpr double kQuiet = 0.01;

  int64_t first() const;  // place to cut

  int64_t window_;
  int64_t samples_ = 0;
  double block_ = 0;                    // squares of the block at hand
  std::array<double, kBlocks> last_{};  // of those before it
  double all_ = 0;                      // of all samples
};

// How many windows a whole sound has; 1 for an empty one.
int64_t CountWindows(absl::Span<const float> samples, int64_t window_samples);

// The longest window that gives no more than `soft_tokens`.
int64_t LongestWindow(const kernels::audio::AudioConfig& config,
                      int64_t soft_tokens);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_SOUND_WINDOWS_H_
