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
      [self, policy = std::move(policy),
       ended = std::move(ended)](const FetchMediaFile& fetch) {
        self->quit();
        return Fetch(policy, fetch, *ended);
      },
  };
}

void Begin(Self self, MediaFetchState::Lane* lane);

void Finish(Self self, MediaFetchState::Job job, const FetchedMedia& fetched) {
  job.promise.deliver(fetched);
  MediaFetchState::Lane& lane = self->state.LaneOf(job.fetch);
  --lane.fetching;
  Begin(self, &lane);
}

// Fetches what waits, as far as there are threads.
void Begin(Self self, MediaFetchState::Lane* lane) {
  MediaFetchState& state = self->state;
  while (!lane->waiting.empty() && lane->fetching < state.config.max_fetching) {
    MediaFetchState::Job job = std::move(lane->waiting.front());
    lane->waiting.pop_front();
    ++lane->fetching;
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
  MediaFetchState::Lane& lane = state.LaneOf(fetch);
  if (static_cast<int>(lane.waiting.size()) >= state.config.max_waiting) {
    promise.deliver(
        FetchedMedia{absl::ResourceExhaustedError(absl::StrCat(
                         lane.fetching, " files are being fetched and ",
                         lane.waiting.size(), " wait; try again later")),
                     nullptr});
    return promise;
  }
  lane.waiting.push_back({fetch, promise});
  Begin(self, &lane);
  return promise;
}

}  // namespace

MediaFetchState::~MediaFetchState() {
  *ended = true;
  const FetchedMedia lost{
      absl::UnavailableError("media_fetch was lost; try again"), nullptr, ""};
  for (Lane* lane : {&urls, &files}) {
    for (Job& job : lane->waiting) job.promise.deliver(lost);
  }
}

MediaFetchActor::behavior_type MediaFetch(Self self, MediaFetchConfig config) {
  self->state.config = std::move(config);
  return {
      [](const Start&) { return Started{}; },
      [self](const FetchMediaFile& fetch) { return Take(self, fetch); },
  };
}

}  // namespace lapidary
