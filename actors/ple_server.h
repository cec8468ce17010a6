// Serves rows of the per-layer embedding table from the store on disk. Keeps no
// per-sequence state, so any replica can answer any request, and losing one
// loses nothing.
//
// Reads are made by a few readers with a thread each, so that one that a slow
// disk holds up does not hold up those that find their rows in the cache. A
// read waits only while all of them read.
#ifndef LAPIDARY_ACTORS_PLE_SERVER_H_
#define LAPIDARY_ACTORS_PLE_SERVER_H_

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "actors/messages.h"
#include "storage/ple_store.h"

namespace lapidary {

// Most ids that one read may name: a whole context. More are OUT_OF_RANGE.
inline constexpr size_t kMaxPleIds = 32768;

// Reads that one server makes at once: so many may hang on the disk before
// others wait for them. A reader that has nothing to do costs a stack.
inline constexpr size_t kPleReaders = 4;

struct PleServerConfig {
  std::string folder;
  PleTableShape shape;
  PleStoreOptions options;
  bool verify = false;  // read the whole table once, for its checksums
};

// One of the readers; the server's alone.
using PleReaderActor =
    caf::typed_actor<caf::replies_to<PleRead>::with<PleRows>>;

struct PleServerState {
  struct Reader {
    PleReaderActor actor;
    bool reading = false;
  };
  struct Waiting {
    PleRead read;
    caf::typed_response_promise<PleRows> rows;
  };
  PleServerConfig config;
  std::shared_ptr<PleStore> store;  // null until Start
  std::vector<Reader> readers;
  std::deque<Waiting> waiting;  // for a reader
};

// Opens the store, which reads the disk: spawn it detached.
PleServerActor::behavior_type PleServer(
    PleServerActor::stateful_pointer<PleServerState> self,
    PleServerConfig config);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_PLE_SERVER_H_
