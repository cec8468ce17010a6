// A tower of an actor: loaded when something first needs it, or at the start if
// it is pinned, and unloaded after some time without use.
//
//   if (auto s = tower.Load([&] { return model->LoadVision(); }); !s.ok()) …
//   tower->…
//   tower.Rest(self);                    // nothing is left to do
//   [](const IdleCheck&) { tower.UnloadIfIdle(busy); }
#ifndef LAPIDARY_ACTORS_LAZY_TOWER_H_
#define LAPIDARY_ACTORS_LAZY_TOWER_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "caf/all.hpp"

namespace lapidary {

// To the actor itself: looks whether its tower has been idle for too long.
struct IdleCheck {};

template <typename Tower>
class LazyTower {
 public:
  // Before anything else.
  void Open(bool pinned, std::chrono::nanoseconds idle) {
    pinned_ = pinned;
    idle_ = idle;
  }

  // Loads it unless it is there; `weights` gives a StatusOr of what a Tower is
  // made of. Errors: those.
  template <typename Weights>
  absl::Status Load(Weights weights) {
    if (tower_ != nullptr) return absl::OkStatus();
    auto loaded = weights();
    if (!loaded.ok()) return loaded.status();
    tower_ = std::make_unique<Tower>(*std::move(loaded));
    ++loads_;
    return absl::OkStatus();
  }

  // From now on nothing needs it: has `self` get an IdleCheck when it is time.
  template <typename Self>
  void Rest(Self* self) {
    last_used_ = Clock::now();
    if (!pinned_) self->delayed_send(self, idle_, IdleCheck{});
  }

  // Whether it was unloaded.
  //   busy  something needs it again
  bool UnloadIfIdle(bool busy) {
    if (tower_ == nullptr || pinned_ || busy ||
        Clock::now() - last_used_ < idle_) {
      return false;
    }
    tower_.reset();
    ++unloads_;
    return true;
  }

  bool loaded() const { return tower_ != nullptr; }
  bool pinned() const { return pinned_; }
  Tower* get() const { return tower_.get(); }
  Tower* operator->() const { return tower_.get(); }

  // Its part of a VisionStatus or an AudioStatus.
  template <typename Status>
  void Describe(Status* status) const {
    status->loaded = loaded();
    status->loads = loads_;
    status->unloads = unloads_;
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool pinned_ = false;
  std::chrono::nanoseconds idle_{0};
  std::unique_ptr<Tower> tower_;
  Clock::time_point last_used_;
  uint64_t loads_ = 0, unloads_ = 0;
};

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::IdleCheck)

#endif  // LAPIDARY_ACTORS_LAZY_TOWER_H_
