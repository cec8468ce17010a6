#include "actors/media_fetch.h"

#include <new>

#include "absl/strings/str_cat.h"
#include "storage/file_io.h"
#include "storage/media_source.h"

namespace lapidary {
namespace {

using Self = MediaFetchActor::stateful_pointer<MediaFetchState>;
using FetcherActor =
    caf::typed_actor<caf::replies_to<FetchMediaFile>::with<FetchedMedia>>;

FetchedMedia Fetch(const MediaPolicy& policy, const FetchMediaFile& fetch,
                   const std::atomic<bool>& ended) {
  const auto given_up = [&] {
    return ended || (fetch.cancelled != nullptr && *fetch.cancelled);
  };
  try {
    auto bytes = FetchMedia(policy, fetch.source, given_up);
    if (!bytes.ok()) return {bytes.status(), nullptr, ""};
    std::string key = Checksum(*bytes);
    return {absl::OkStatus(),
            std::make_shared<const std::string>(*std::move(bytes)),
            std::move(key)};
  } catch (const std::bad_alloc&) {
    return {absl::ResourceExhaustedError("no memory to fetch it"), nullptr, ""};
  }
}

// One fetch, on a thread of its own.
FetcherActor::behavior_type Fetcher(
    FetcherActor::pointer self, MediaPolicy policy,
    std::shared_ptr<const std::atomic<bool>> ended) {
  return {
      [self, policy, ended](const FetchMediaFile& fetch) {
        self->quit();
        return Fetch(policy, fetch, *ended);
      },
  };
}

void Begin(Self self);

void Finish(Self self, MediaFetchState::Job job, const FetchedMedia& fetched) {
  job.promise.deliver(fetched);
  --self->state.fetching;
  Begin(self);
}

// Fetches what waits, as far as there are threads.
void Begin(Self self) {
  MediaFetchState& state = self->state;
  while (!state.waiting.empty() && state.fetching < state.config.max_fetching) {
    MediaFetchState::Job job = std::move(state.waiting.front());
    state.waiting.pop_front();
    ++state.fetching;
    const auto fetcher = self->spawn<caf::detached>(
        Fetcher, state.config.policy,
        std::shared_ptr<const std::atomic<bool>>(state.ended));
    self->request(fetcher, caf::infinite, job.fetch)
        .then(
            [self, job](const FetchedMedia& done) { Finish(self, job, done); },
            [self, job](caf::error& error) {
              Finish(self, job,
                     {absl::InternalError(self->system().render(error)),
                      nullptr, ""});
            });
  }
}

caf::result<FetchedMedia> Take(Self self, const FetchMediaFile& fetch) {
  MediaFetchState& state = self->state;
  auto promise = self->make_response_promise<FetchedMedia>();
  if (static_cast<int>(state.waiting.size()) >= state.config.max_waiting) {
    promise.deliver(
        FetchedMedia{absl::ResourceExhaustedError(absl::StrCat(
                         state.fetching, " files are being fetched and ",
                         state.waiting.size(), " wait; try again later")),
                     nullptr});
    return promise;
  }
  state.waiting.push_back({fetch, promise});
  Begin(self);
  return promise;
}

}  // namespace

MediaFetchState::~MediaFetchState() {
  *ended = true;
  const FetchedMedia lost{
      absl::UnavailableError("media_fetch was lost; try again"), nullptr, ""};
  for (Job& job : waiting) job.promise.deliver(lost);
}

MediaFetchActor::behavior_type MediaFetch(Self self, MediaFetchConfig config) {
  self->state.config = std::move(config);
  return {
      [](const Start&) { return Started{}; },
      [self](const FetchMediaFile& fetch) { return Take(self, fetch); },
  };
}

}  // namespace lapidary
