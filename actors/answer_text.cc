#include "actors/answer_text.h"

#include <algorithm>
#include <utility>

namespace lapidary {
namespace {

// Bytes at the end of `text` that begin `stop` and could go on to be it.
size_t OpenEnd(absl::string_view text, absl::string_view stop) {
  for (size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == stop.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stop)
    : stop_(std::move(stop)) {
  // Of two that begin at one place the longer is met.
  std::sort(stop_.begin(), stop_.end(),
            [](const std::string& a, const std::string& b) {
              return a.size() > b.size();
            });
}

std::string StopMatcher::Push(absl::string_view text) {
  if (!met_.empty()) return "";
  held_.append(text.data(), text.size());
  size_t first = std::string::npos;
  for (const std::string& stop : stop_) {
    const size_t at = held_.find(stop);
    if (at < first) {
      first = at;
      met_ = stop;
    }
  }
  if (!met_.empty()) {
    held_.resize(first);
    return std::exchange(held_, "");
  }
  size_t open = 0;
  for (const std::string& stop : stop_) {
    open = std::max(open, OpenEnd(held_, stop));
  }
  std::string certain = held_.substr(0, held_.size() - open);
  held_.erase(0, held_.size() - open);
  return certain;
}

std::string StopMatcher::Flush() { return std::exchange(held_, ""); }

}  // namespace lapidary
