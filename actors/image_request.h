// How the actor of a call has an image encoded.
#ifndef LAPIDARY_ACTORS_IMAGE_REQUEST_H_
#define LAPIDARY_ACTORS_IMAGE_REQUEST_H_

#include <atomic>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "actors/messages.h"
#include "actors/stream_call.h"

namespace lapidary {

// Asks whoever plays `vision`, and calls done(const EncodedImage&), once, from
// the actor `self`. A status that is not OK names image.field, or is
// UNAVAILABLE for want of the actor.
//   cancelled  as EncodeImage
template <class Self, class Done>
void RequestSoftTokens(Self* self, const CallContext& context,
                       const PromptImage& image,
                       std::shared_ptr<const std::atomic<bool>> cancelled,
                       Done done) {
  auto lost = [self, done](caf::error& error) {
    done(EncodedImage{
        absl::UnavailableError(absl::StrCat(
            "the vision actor was lost while it encoded an image; try again: ",
            self->system().render(error))),
        {}});
  };
  auto encoded = [done, field = image.field](const EncodedImage& answer) {
    if (answer.status.ok()) return done(answer);
    done(EncodedImage{
        absl::Status(answer.status.code(),
                     absl::StrCat(field, ": ", answer.status.message())),
        {}});
  };
  self->request(context.directory, context.role_timeout, Lookup{"vision"})
      .then(
          [self, done, encoded, lost,
           ask = EncodeImage{image.file, std::move(cancelled)}](
              const caf::strong_actor_ptr& actor) {
            if (actor == nullptr) {
              return done(EncodedImage{
                  absl::UnavailableError("no vision actor is alive; try again"),
                  {}});
            }
            self->request(caf::actor_cast<VisionActor>(actor), caf::infinite,
                          ask)
                .then(encoded, lost);
          },
          lost);
}

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_IMAGE_REQUEST_H_
