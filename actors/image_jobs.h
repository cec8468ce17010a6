// Images on their way through an actor that has them encoded, and who waits for
// each.
#ifndef LAPIDARY_ACTORS_IMAGE_JOBS_H_
#define LAPIDARY_ACTORS_IMAGE_JOBS_H_

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "actors/messages.h"

namespace lapidary {

struct ImageAsker {
  caf::typed_response_promise<EncodedImage> promise;
  std::shared_ptr<const std::atomic<bool>> cancelled;  // as in EncodeImage

  bool waits() const { return cancelled == nullptr || !*cancelled; }
};

struct ImageJob {
  std::string key;  // EncodeImage::key
  std::shared_ptr<const std::string> file;
  std::vector<ImageAsker> askers;

  bool wanted() const {
    return std::any_of(askers.begin(), askers.end(),
                       [](const ImageAsker& asker) { return asker.waits(); });
  }
  bool Is(const std::string& other_key, const std::string& other) const {
    return key == other_key && *file == other;
  }
  void Answer(const EncodedImage& answer) const {
    for (ImageAsker asker : askers) asker.promise.deliver(answer);
  }
};

inline absl::Status ImageUnwanted() {
  return absl::CancelledError("the client no longer waits for the image");
}

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_IMAGE_JOBS_H_
