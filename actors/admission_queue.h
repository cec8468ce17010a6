// The requests that wait for a place in the batch, in the order in which they
// get one.
//
// A class of priority is a head start: a request counts as if it had come
// kHeadStart sooner than one of the class below. So a high one overtakes what
// waits, and a low one that has waited its head start out is overtaken by
// nobody who comes later: none waits for ever.
#ifndef LAPIDARY_ACTORS_ADMISSION_QUEUE_H_
#define LAPIDARY_ACTORS_ADMISSION_QUEUE_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <unordered_map>

#include "actors/messages.h"

namespace lapidary {

class AdmissionQueue {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kHeadStart{10};

  void Push(SequenceId id, Priority priority, Time now);
  // Of those of one rank, whoever came first. The queue must not be empty.
  SequenceId front() const { return queue_.begin()->second.id; }
  // `id` must wait.
  void Remove(SequenceId id);

  bool empty() const { return queue_.empty(); }
  int64_t size() const { return static_cast<int64_t>(queue_.size()); }
  int64_t count(Priority priority) const {
    return counts_[static_cast<size_t>(priority)];
  }
  // How many stand before a request that came now.
  int64_t Ahead(Priority priority, Time now) const;

 private:
  struct Entry {
    SequenceId id;
    Priority priority;
  };
  // By the time of arrival, less the head start.
  using Queue = std::multimap<Time, Entry>;

  Queue queue_;
  std::unordered_map<SequenceId, Queue::iterator> places_;
  std::array<int64_t, 3> counts_ = {0, 0, 0};  // by Priority
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_ADMISSION_QUEUE_H_
