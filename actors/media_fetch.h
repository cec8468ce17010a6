// Fetches what requests name instead of carrying it (storage/media_source.h),
// for pictures and sounds alike. Light: each fetch blocks a thread of its own,
// of which there are a few; what finds none waits, and what finds no place to
// wait is refused.
//
//   FetchMediaFile ─► media_fetch ─► FetchedMedia
#ifndef LAPIDARY_ACTORS_MEDIA_FETCH_H_
#define LAPIDARY_ACTORS_MEDIA_FETCH_H_

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "actors/messages.h"
#include "storage/media_policy.h"

namespace lapidary {

inline constexpr char kMediaFetchRole[] = "media_fetch";

struct MediaFetchConfig {
  MediaPolicy policy;
  // Of URLs, and as many of files: these do not wait for hanging servers.
  int max_fetching = 8;  // at once, a thread each
  int max_waiting = 64;
};

struct FetchMediaFile {
  MediaSource source;
  // As EncodeImage's.
  std::shared_ptr<const std::atomic<bool>> cancelled;
};

struct FetchedMedia {
  absl::Status status;  // those of FetchMedia, and RESOURCE_EXHAUSTED
  std::shared_ptr<const std::string> file;
  std::string key;  // as EncodeImage's
};

using MediaFetchActor =
    caf::typed_actor<caf::replies_to<Start>::with<Started>,
                     caf::replies_to<FetchMediaFile>::with<FetchedMedia>>;

struct MediaFetchState {
  struct Job {
    FetchMediaFile fetch;
    caf::typed_response_promise<FetchedMedia> promise;
  };

  struct Lane {
    std::deque<Job> waiting;
    int fetching = 0;
  };

  Lane& LaneOf(const FetchMediaFile& fetch) {
    return fetch.source.kind == MediaSource::Kind::kFile ? files : urls;
  }

  // Gives up what is being fetched, and tells all who wait.
  ~MediaFetchState();

  MediaFetchConfig config;
  Lane urls, files;
  const std::shared_ptr<std::atomic<bool>> ended =
      std::make_shared<std::atomic<bool>>(false);
};

MediaFetchActor::behavior_type MediaFetch(
    MediaFetchActor::stateful_pointer<MediaFetchState> self,
    MediaFetchConfig config);

}  // namespace lapidary

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::FetchMediaFile)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(lapidary::FetchedMedia)

#endif  // LAPIDARY_ACTORS_MEDIA_FETCH_H_
