#include "actors/ple_server.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace lapidary {
namespace {

using Self = PleServerActor::stateful_pointer<PleServerState>;

PleRows Read(PleStore& store, const PleRead& read) {
  auto rows = store.Read(read.ids, read.layers);
  if (!rows.ok()) return {rows.status(), {}};
  return {absl::OkStatus(), *std::move(rows)};
}

PleReaderActor::behavior_type PleReader(PleReaderActor::pointer,
                                        std::shared_ptr<PleStore> store) {
  return {
      [store = std::move(store)](const PleRead& read) -> caf::result<PleRows> {
        return Read(*store, read);
      },
  };
}

Started Open(Self self) {
  PleServerState& state = self->state;
  auto store = PleStore::Open(state.config.folder, state.config.shape,
                              state.config.options);
  if (!store.ok()) return {store.status(), {}};
  if (state.config.verify) {
    const absl::Status whole = (*store)->VerifyChecksums();
    if (!whole.ok()) return {whole, {}};
  }
  state.store = *std::move(store);
  while (state.readers.size() < kPleReaders) {
    state.readers.push_back(
        {self->spawn<caf::detached + caf::linked>(PleReader, state.store),
         false});
  }
  return {};
}

// None is given to a reader that reads: that one may hang.
void GiveToReaders(Self self) {
  PleServerState& state = self->state;
  while (!state.waiting.empty()) {
    const auto reader =
        std::find_if(state.readers.begin(), state.readers.end(),
                     [](const auto& reader) { return !reader.reading; });
    if (reader == state.readers.end()) return;
    reader->reading = true;
    PleServerState::Waiting next = std::move(state.waiting.front());
    state.waiting.pop_front();
    auto answer = [self, index = reader - state.readers.begin(),
                   rows = next.rows](auto& result) mutable {
      self->state.readers[index].reading = false;
      rows.deliver(std::move(result));
      GiveToReaders(self);
    };
    self->request(reader->actor, caf::infinite, std::move(next.read))
        .then([answer](PleRows& rows) mutable { answer(rows); },
              [answer](caf::error& error) mutable { answer(error); });
  }
}

caf::result<PleRows> Dispatch(Self self, const PleRead& read) {
  PleServerState& state = self->state;
  if (state.store == nullptr) {
    return PleRows{absl::UnavailableError("the PLE store is not open yet"), {}};
  }
  if (read.ids.size() > kMaxPleIds) {
    return PleRows{absl::OutOfRangeError(absl::StrCat(
                       "a read of ", read.ids.size(), " PLE rows, at most ",
                       kMaxPleIds, " are read at once")),
                   {}};
  }
  auto promise = self->make_response_promise<PleRows>();
  state.waiting.push_back({read, promise});
  GiveToReaders(self);
  return promise;
}

PleStatus Status(const PleServerState& state) {
  if (state.store == nullptr) return {};
  const PleStoreStats stats = state.store->stats();
  PleStatus status;
  status.reads = stats.reads;
  status.rows = stats.rows;
  status.cache_hits = stats.cache_hits;
  status.cache_misses = stats.cache_misses;
  status.bytes_read = stats.bytes_read;
  status.cache_bytes = stats.block_cache_bytes;
  status.cache_capacity = stats.block_cache_capacity;
  status.read_us_p50 = stats.read_us_p50;
  status.read_us_p99 = stats.read_us_p99;
  status.read_us_max = stats.read_us_max;
  status.latency = stats.latency_histogram;
  return status;
}

}  // namespace

PleServerActor::behavior_type PleServer(Self self, PleServerConfig config) {
  self->state.config = std::move(config);
  return {
      [self](const Start&) -> caf::result<Started> { return Open(self); },
      [self](const PleRead& read) -> caf::result<PleRows> {
        return Dispatch(self, read);
      },
      [self](const StatusQuery&) -> caf::result<PleStatus> {
        return Status(self->state);
      },
  };
}

}  // namespace lapidary
