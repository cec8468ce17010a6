// Keeps the actors of a node alive: starts them in order, watches them, reports
// one that dies and starts it again, sooner the first time than the tenth.
//
//   spawn ─► Start{} ─► Started ─► RoleEvent{alive} to the directory
//     ▲                              │ dies
//     └──── after a pause ───────────┴─► RoleEvent{lost} to the directory
#ifndef LAPIDARY_ACTORS_SUPERVISOR_H_
#define LAPIDARY_ACTORS_SUPERVISOR_H_

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "actors/event_log.h"
#include "actors/messages.h"

namespace lapidary {

// A role and how its actor is made. The actor must answer Start.
struct RoleSpec {
  std::string name;
  std::function<caf::strong_actor_ptr(caf::actor_system&)> spawn;
};

struct SupervisorConfig {
  DirectoryActor directory;
  std::vector<RoleSpec> roles;                 // in the order of starting
  std::chrono::milliseconds first_pause{100};  // doubled at every try…
  std::chrono::milliseconds longest_pause{5000};
  // …until an actor has lived so long.
  std::chrono::seconds settled_after{10};
  std::chrono::seconds start_timeout{300};
  EventLog log;
};

// Start is answered when all roles are alive, or with the first failure, after
// which nothing is started again.
using SupervisorActor =
    caf::typed_actor<caf::replies_to<Start>::with<Started>,
                     caf::replies_to<KillRole>::with<Started>,
                     caf::reacts_to<Restart>>;

struct SupervisorState {
  ~SupervisorState();

  using Time = std::chrono::steady_clock::time_point;
  struct Role {
    caf::strong_actor_ptr actor;  // null while there is none
    bool alive = false;           // has answered Start
    uint64_t incarnation = 0;
    Time alive_since;
    std::chrono::milliseconds pause{0};  // before the next start
    std::string failure;                 // why Start failed
  };
  SupervisorConfig config;
  std::vector<Role> roles;
  caf::typed_response_promise<Started> all_started;
};

// On exit (any reason) it takes its actors with it, the last started first.
SupervisorActor::behavior_type Supervisor(
    SupervisorActor::stateful_pointer<SupervisorState> self,
    SupervisorConfig config);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_SUPERVISOR_H_
