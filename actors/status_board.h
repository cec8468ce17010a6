// The newest status of an actor, for those who cannot wait until it has time to
// answer: loading a tower takes seconds. Written by the actor, read by any
// thread.
#ifndef LAPIDARY_ACTORS_STATUS_BOARD_H_
#define LAPIDARY_ACTORS_STATUS_BOARD_H_

#include <mutex>
#include <optional>
#include <utility>

#include "actors/messages_status.h"

namespace lapidary {

template <typename Status>
class StatusBoard {
 public:
  // None: there is no actor.
  void Write(std::optional<Status> status) {
    std::lock_guard<std::mutex> lock(mutex_);
    status_ = std::move(status);
  }
  std::optional<Status> Read() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return status_;
  }

 private:
  mutable std::mutex mutex_;
  std::optional<Status> status_;
};

using VisionBoard = StatusBoard<VisionStatus>;
using AudioBoard = StatusBoard<AudioStatus>;

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_STATUS_BOARD_H_
