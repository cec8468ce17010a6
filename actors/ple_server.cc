#include "actors/ple_server.h"

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace lapidary {
namespace {

Started Open(PleServerState& state) {
  auto store = PleStore::Open(state.config.folder, state.config.shape,
                              state.config.options);
  if (!store.ok()) return {store.status(), {}};
  if (state.config.verify) {
    const absl::Status whole = (*store)->VerifyChecksums();
    if (!whole.ok()) return {whole, {}};
  }
  state.store = *std::move(store);
  return {};
}

PleRows Read(PleServerState& state, const PleRead& read) {
  if (state.store == nullptr) {
    return {absl::UnavailableError("the PLE store is not open yet"), {}};
  }
  if (read.ids.size() > kMaxPleIds) {
    return {absl::OutOfRangeError(absl::StrCat(
                "a read of ", read.ids.size(), " PLE rows, at most ",
                kMaxPleIds, " are read at once")),
            {}};
  }
  auto rows = state.store->Read(read.ids, read.layers);
  if (!rows.ok()) return {rows.status(), {}};
  return {absl::OkStatus(), *std::move(rows)};
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

PleServerActor::behavior_type PleServer(
    PleServerActor::stateful_pointer<PleServerState> self,
    PleServerConfig config) {
  self->state.config = std::move(config);
  return {
      [self](const Start&) -> caf::result<Started> {
        return Open(self->state);
      },
      [self](const PleRead& read) -> caf::result<PleRows> {
        return Read(self->state, read);
      },
      [self](const StatusQuery&) -> caf::result<PleStatus> {
        return Status(self->state);
      },
  };
}

}  // namespace lapidary
