#include "actors/door.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lapidary {
namespace {

// Places that the interval is taken over: some finish in the same step.
constexpr size_t kPlaces = 32;
// Hints are no shorter, so that refusing costs little, and no longer, because
// nobody knows that far ahead.
constexpr int64_t kShortestRetryNs = 50'000'000;
constexpr int64_t kLongestRetryNs = 60'000'000'000;
// Where nothing is known.
constexpr double kUsualRetryNs = 1e9;

int64_t RetryAfter(double ns) {
  return static_cast<int64_t>(std::clamp(ns,
                                         static_cast<double>(kShortestRetryNs),
                                         static_cast<double>(kLongestRetryNs)));
}

std::string Text(double ns) {
  return absl::StrCat(static_cast<int64_t>(ns / 1e6), " ms");
}

}  // namespace

void Turnover::Waiting(bool waiting, Time now) {
  if (!waiting) {
    freed_.clear();
  } else if (freed_.empty()) {
    freed_.push_back(now);
  }
}

void Turnover::Freed(Time now) {
  if (freed_.empty()) return;  // nobody waits: it says nothing
  freed_.push_back(now);
  if (freed_.size() > kPlaces + 1) freed_.pop_front();
  interval_ns_ =
      std::chrono::duration<double, std::nano>(now - freed_.front()).count() /
      static_cast<double>(freed_.size() - 1);
}

Refusal Door::Check(const Needs& needs, const Inside& inside) {
  if (inside.waiting == 0) outside_ = 0;  // nobody has to come again
  if (needs.pages > inside.pages_total) {
    return {RefusalReason::kTooLarge,
            absl::ResourceExhaustedError(absl::StrCat(
                "keys and values of ", needs.positions, " positions take ",
                needs.pages, " pages of ", inside.page_bytes,
                " bytes, the node has ", inside.pages_total,
                "; ask for fewer tokens or give the node more --kv-memory")),
            kNeverRetry};
  }
  Refusal refusal;
  if (inside.waiting >= inside.max_waiting) {
    const double interval =
        inside.place_interval_ns > 0 ? inside.place_interval_ns : kUsualRetryNs;
    refusal = {RefusalReason::kQueueFull, absl::OkStatus(),
               RetryAfter(interval * static_cast<double>(outside_ + 1))};
    refusal.status = absl::ResourceExhaustedError(absl::StrCat(
        "the queue is full (", inside.max_waiting,
        " requests wait); try again in ", Text(refusal.retry_after_ns)));
  } else {
    refusal = CheckTime(needs, inside);
  }
  if (refusal.retry_after_ns > 0) ++outside_;
  return refusal;
}

Refusal Door::CheckTime(const Needs& needs, const Inside& inside) const {
  if (inside.idle) return {};
  const int64_t places_short = inside.ahead + 1 - inside.places;
  // Before any place has come free, as if all answers were as long as this one
  // at least has to be.
  const double interval_ns =
      inside.place_interval_ns > 0
          ? inside.place_interval_ns
          : inside.token_ns * static_cast<double>(needs.min_tokens) /
                static_cast<double>(std::max<int64_t>(1, inside.running));
  const double wait_ns =
      places_short > 0 ? interval_ns * static_cast<double>(places_short) : 0;
  const auto refuse = [&](absl::string_view limit, int64_t limit_ns,
                          int64_t tokens) -> Refusal {
    const auto later = static_cast<double>(tokens - 1);
    const double need_ns =
        wait_ns + inside.prompts_ns + later * inside.token_ns;
    if (limit_ns <= 0 || need_ns <= static_cast<double>(limit_ns)) return {};
    const double alone_ns = inside.alone_ns + later * inside.alone_token_ns;
    const bool never = alone_ns > static_cast<double>(limit_ns);
    const int64_t retry_ns =
        never ? kNeverRetry
              : RetryAfter(need_ns - static_cast<double>(limit_ns));
    return {
        RefusalReason::kDeadline,
        absl::ResourceExhaustedError(absl::StrCat(
            limit, " leaves ", Text(static_cast<double>(limit_ns)),
            ", and by what steps take now the request needs ", Text(need_ns),
            never ? absl::StrCat(", ", Text(alone_ns),
                                 " of them by itself; give "
                                 "it more time")
                  : absl::StrCat("; try again in ", Text(retry_ns)))),
        retry_ns};
  };
  Refusal refusal =
      refuse("the call's deadline", needs.deadline_ns, needs.min_tokens);
  if (refusal.status.ok()) {
    refusal = refuse("time_limit_ms", needs.time_limit_ns, 1);
  }
  return refusal;
}

}  // namespace lapidary
