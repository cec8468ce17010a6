// Serves rows of the per-layer embedding table from the store on disk. Keeps no
// per-sequence state, so any replica can answer any request, and losing one
// loses nothing.
#ifndef LAPIDARY_ACTORS_PLE_SERVER_H_
#define LAPIDARY_ACTORS_PLE_SERVER_H_

#include <memory>
#include <string>

#include "actors/messages.h"
#include "storage/ple_store.h"

namespace lapidary {

// Most ids that one read may name: a whole context. More are OUT_OF_RANGE.
inline constexpr size_t kMaxPleIds = 32768;

struct PleServerConfig {
  std::string folder;
  PleTableShape shape;
  PleStoreOptions options;
  bool verify = false;  // read the whole table once, for its checksums
};

struct PleServerState {
  PleServerConfig config;
  std::unique_ptr<PleStore> store;  // null until Start
};

// Reads the disk: spawn it detached.
PleServerActor::behavior_type PleServer(
    PleServerActor::stateful_pointer<PleServerState> self,
    PleServerConfig config);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_PLE_SERVER_H_
