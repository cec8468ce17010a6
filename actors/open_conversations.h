// The conversations that are open on a node: so many and no more, and those
// that can be told when the node shuts down.
#ifndef LAPIDARY_ACTORS_OPEN_CONVERSATIONS_H_
#define LAPIDARY_ACTORS_OPEN_CONVERSATIONS_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "actors/converse_messages.h"

namespace lapidary {

// Why a conversation ends that nobody answers any more.
inline absl::Status ShutsDown() {
  return absl::UnavailableError(
      "the server is shutting down; begin again when it is back, or on "
      "another");
}

// Thread-safe.
class OpenConversations {
 public:
  explicit OpenConversations(int most) : most_(most) {}

  // A place, to be left by its number. Errors: RESOURCE_EXHAUSTED where all are
  // taken; UNAVAILABLE after ShutDown.
  absl::StatusOr<uint64_t> Enter() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (shuts_down_) return ShutsDown();
    if (static_cast<int>(open_.size()) >= most_) {
      return absl::ResourceExhaustedError(absl::StrCat(
          most_,
          " conversations are open, the most that this node takes; try again "
          "in a second"));
    }
    open_.emplace(++last_, ConverseActor());
    return last_;
  }

  void Attach(uint64_t place, ConverseActor actor) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto at = open_.find(place);
    if (at == open_.end()) return;
    if (shuts_down_) caf::anon_send(actor, NodeShutsDown{});
    at->second = std::move(actor);
  }

  void Leave(uint64_t place) {
    ConverseActor actor;  // may end with its last handle, outside of the lock
    std::lock_guard<std::mutex> lock(mutex_);
    const auto at = open_.find(place);
    if (at == open_.end()) return;
    actor = std::move(at->second);
    open_.erase(at);
  }

  void ShutDown() {
    std::lock_guard<std::mutex> lock(mutex_);
    shuts_down_ = true;
    for (const auto& [place, actor] : open_) {
      if (actor) caf::anon_send(actor, NodeShutsDown{});
    }
  }

 private:
  const int most_;
  std::mutex mutex_;
  uint64_t last_ = 0;
  bool shuts_down_ = false;
  std::map<uint64_t, ConverseActor> open_;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_OPEN_CONVERSATIONS_H_
