// For threads that are not CAF's and call into it.
#ifndef LAPIDARY_ACTORS_FOREIGN_THREAD_H_
#define LAPIDARY_ACTORS_FOREIGN_THREAD_H_

#include "caf/logger.hpp"

namespace lapidary {

// A thread that makes an actor system, or spawns in one, keeps a reference to
// its logger until it ends, and the system's destructor waits for that. Threads
// of gRPC, and of whoever starts a node, may never end: where one of them
// spawns, this makes it let go.
class ForeignThread {
 public:
  ForeignThread() = default;
  ~ForeignThread() { caf::logger::set_current_actor_system(nullptr); }
  ForeignThread(const ForeignThread&) = delete;
  ForeignThread& operator=(const ForeignThread&) = delete;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_FOREIGN_THREAD_H_
