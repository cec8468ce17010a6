// Files of images or sounds on their way through an actor that has them
// encoded, and who waits for each.
#ifndef LAPIDARY_ACTORS_MEDIA_JOBS_H_
#define LAPIDARY_ACTORS_MEDIA_JOBS_H_

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "actors/messages.h"

namespace lapidary {

struct MediaAsker {
  caf::typed_response_promise<EncodedMedium> promise;
  std::shared_ptr<const std::atomic<bool>> cancelled;  // as in EncodeImage

  bool waits() const { return cancelled == nullptr || !*cancelled; }
};

struct MediaJob {
  std::string key;  // EncodeImage::key
  std::shared_ptr<const std::string> file;
  std::vector<MediaAsker> askers;

  bool wanted() const {
    return std::any_of(askers.begin(), askers.end(),
                       [](const MediaAsker& asker) { return asker.waits(); });
  }
  bool Is(const std::string& other_key, const std::string& other) const {
    return key == other_key && *file == other;
  }
  void Answer(const EncodedMedium& answer) const {
    for (MediaAsker asker : askers) asker.promise.deliver(answer);
  }
};

//   what  "image", "sound"
inline absl::Status Unwanted(absl::string_view what) {
  return absl::CancelledError(
      absl::StrCat("the client no longer waits for the ", what));
}

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_MEDIA_JOBS_H_
