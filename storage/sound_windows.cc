#include "storage/sound_windows.h"

#include <algorithm>
#include <numeric>

namespace lapidary {

int64_t QuietMoment::first() const {
  const int64_t from = window_ - window_ / 6;
  return std::max(kBlocks, (from + kBlock - 1) / kBlock) * kBlock;
}

int64_t QuietMoment::next() const {
  return std::max(first(), (samples_ / kBlock + 1) * kBlock);
}

void QuietMoment::Take(absl::Span<const float> samples) {
  // Sample after sample: a sum's value must not depend on how they come.
  for (const float sample : samples) {
    const double square = double{sample} * sample;
    block_ += square;
    all_ += square;
    if (++samples_ % kBlock == 0) {
      std::rotate(last_.begin(), last_.begin() + 1, last_.end());
      last_.back() = block_;
      block_ = 0;
    }
  }
}

bool QuietMoment::IsHere() const {
  if (samples_ % kBlock != 0 || samples_ < first() || samples_ > window_) {
    return false;
  }
  const double quiet = std::accumulate(last_.begin(), last_.end(), 0.0);
  return quiet * static_cast<double>(samples_) <=
         kQuiet * all_ * (kBlocks * kBlock);
}

int64_t CountWindows(absl::Span<const float> samples, int64_t window_samples) {
  int64_t windows = 1;
  while (static_cast<int64_t>(samples.size()) > window_samples) {
    QuietMoment moment(window_samples);
    while (moment.next() <= window_samples && !moment.IsHere()) {
      moment.Take(
          samples.subspan(moment.samples(), moment.next() - moment.samples()));
    }
    samples.remove_prefix(moment.IsHere() ? moment.samples() : window_samples);
    ++windows;
  }
  return windows;
}

int64_t LongestWindow(const kernels::audio::AudioConfig& config,
                      int64_t soft_tokens) {
  int64_t fits = 1;
  int64_t above = config.mel.max_samples + 1;
  while (above - fits > 1) {
    const int64_t middle = fits + (above - fits) / 2;
    (config.SoftTokens(middle) <= soft_tokens ? fits : above) = middle;
  }
  return fits;
}

}  // namespace lapidary
