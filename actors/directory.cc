#include "actors/directory.h"

#include <algorithm>

namespace lapidary {
namespace {

using Self = DirectoryActor::stateful_pointer<DirectoryState>;

void Take(Self self, const RoleEvent& event,
          const caf::strong_actor_ptr& actor) {
  DirectoryState::Entry& entry = self->state.roles[event.role];
  if (event.incarnation < entry.last.incarnation) return;  // overtaken
  if (event.alive && event.incarnation > 1) {
    entry.restarts = static_cast<int32_t>(event.incarnation - 1);
  }
  if (!event.alive) entry.reason = event.reason;
  entry.last = event;
  entry.actor = event.alive ? actor : nullptr;
  for (const SubscriberActor& subscriber : self->state.subscribers) {
    self->send(subscriber, event, entry.actor);
  }
}

void AddSubscriber(Self self) {
  auto subscriber = caf::actor_cast<SubscriberActor>(self->current_sender());
  self->monitor(subscriber);
  for (const auto& [role, entry] : self->state.roles) {
    self->send(subscriber, entry.last, entry.actor);
  }
  self->state.subscribers.push_back(std::move(subscriber));
}

DirectoryStatus Status(const DirectoryState& state) {
  DirectoryStatus status;
  for (const auto& [role, entry] : state.roles) {
    status.roles.push_back(
        {role, entry.last.alive, entry.restarts, entry.reason});
  }
  return status;
}

}  // namespace

DirectoryActor::behavior_type Directory(Self self) {
  self->set_down_handler([self](caf::down_msg& down) {
    auto& all = self->state.subscribers;
    all.erase(std::remove_if(all.begin(), all.end(),
                             [&](const SubscriberActor& subscriber) {
                               return subscriber.address() == down.source;
                             }),
              all.end());
  });
  return {
      [self](const RoleEvent& event, const caf::strong_actor_ptr& actor) {
        Take(self, event, actor);
      },
      [self](const Subscribe&) { AddSubscriber(self); },
      [self](const Lookup& lookup) -> caf::result<caf::strong_actor_ptr> {
        auto it = self->state.roles.find(lookup.role);
        if (it == self->state.roles.end()) return caf::strong_actor_ptr();
        return it->second.actor;
      },
      [self](const StatusQuery&) -> caf::result<DirectoryStatus> {
        return Status(self->state);
      },
  };
}

}  // namespace lapidary
