// When sequences run out of time.
#ifndef LAPIDARY_ACTORS_DEADLINES_H_
#define LAPIDARY_ACTORS_DEADLINES_H_

#include <chrono>
#include <iterator>
#include <map>
#include <optional>

#include "actors/messages.h"

namespace lapidary {

class Deadlines {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // A sequence may have several.
  void Add(SequenceId id, Time at) { times_.emplace(at, id); }
  void Remove(SequenceId id) {
    for (auto at = times_.begin(); at != times_.end();) {
      at = at->second == id ? times_.erase(at) : std::next(at);
    }
  }
  // Time::max() for none.
  Time next() const {
    return times_.empty() ? Time::max() : times_.begin()->first;
  }
  // A sequence whose time is over.
  std::optional<SequenceId> Due(Time now) const {
    if (times_.empty() || times_.begin()->first > now) return std::nullopt;
    return times_.begin()->second;
  }

 private:
  std::multimap<Time, SequenceId> times_;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_DEADLINES_H_
