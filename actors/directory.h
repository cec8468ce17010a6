// Which actor plays which role, and who is alive. Told by supervisors (and,
// between nodes, by links); tells whoever subscribed. Losing it loses only
// what the supervisors can tell again.
#ifndef LAPIDARY_ACTORS_DIRECTORY_H_
#define LAPIDARY_ACTORS_DIRECTORY_H_

#include <map>
#include <string>
#include <vector>

#include "actors/messages.h"

namespace lapidary {

struct DirectoryState {
  struct Entry {
    RoleEvent last;               // the newest event about the role
    caf::strong_actor_ptr actor;  // null unless alive
    int32_t restarts = 0;
    std::string reason;  // of the newest loss
  };
  std::map<std::string, Entry> roles;
  std::vector<SubscriberActor> subscribers;
};

DirectoryActor::behavior_type Directory(
    DirectoryActor::stateful_pointer<DirectoryState> self);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_DIRECTORY_H_
