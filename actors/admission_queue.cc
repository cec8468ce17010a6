#include "actors/admission_queue.h"

#include <iterator>

namespace lapidary {
namespace {

AdmissionQueue::Time Rank(Priority priority, AdmissionQueue::Time now) {
  return now - static_cast<int>(priority) * AdmissionQueue::kHeadStart;
}

}  // namespace

void AdmissionQueue::Push(SequenceId id, Priority priority, Time now) {
  places_[id] = queue_.insert({Rank(priority, now), {id, priority}});
  ++counts_[static_cast<size_t>(priority)];
}

void AdmissionQueue::Remove(SequenceId id) {
  const auto place = places_.find(id);
  --counts_[static_cast<size_t>(place->second->second.priority)];
  queue_.erase(place->second);
  places_.erase(place);
}

int64_t AdmissionQueue::Ahead(Priority priority, Time now) const {
  return std::distance(queue_.begin(), queue_.upper_bound(Rank(priority, now)));
}

}  // namespace lapidary
