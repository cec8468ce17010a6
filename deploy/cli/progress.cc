#include "deploy/cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace lapidary::cli {
namespace {

constexpr int kBarWidth = 24;
constexpr absl::Duration kRedraw = absl::Milliseconds(100);
constexpr absl::Duration kLine = absl::Seconds(5);

}  // namespace

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = bytes;
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat(unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s",
                         value, kUnits[unit]);
}

Progress::Progress(absl::string_view verb)
    : verb_(verb), terminal_(isatty(STDERR_FILENO)), start_(absl::Now()) {}

Progress::~Progress() { End(); }

void Progress::End() {
  if (drawn_ && terminal_) std::cerr << "\n";
  drawn_ = false;
}

void Progress::Update(absl::string_view step, uint64_t done, uint64_t total) {
  const absl::Time now = absl::Now();
  const bool last = done >= total && !complete_;
  complete_ |= last;
  if (!last && now - shown_ < (terminal_ ? kRedraw : kLine)) return;
  shown_ = now;
  drawn_ = true;
  const double share = total == 0 ? 1.0 : std::min(1.0, 1.0 * done / total);
  const std::string line = absl::StrFormat(
      "%3.0f%%  %s of %s  %.0f s  %s", 100 * share, HumanBytes(done),
      HumanBytes(total), absl::ToDoubleSeconds(now - start_), step);
  if (terminal_) {
    const int filled = static_cast<int>(share * kBarWidth);
    std::cerr << "\r\033[K" << verb_ << " [" << std::string(filled, '#')
              << std::string(kBarWidth - filled, '.') << "] " << line
              << std::flush;
  } else {
    std::cerr << verb_ << " " << line << std::endl;
  }
}

}  // namespace lapidary::cli
