// How the actor of a call has an image or a sound encoded, and fetched before
// that where the request only names it.
#ifndef LAPIDARY_ACTORS_MEDIA_REQUEST_H_
#define LAPIDARY_ACTORS_MEDIA_REQUEST_H_

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "actors/media_fetch.h"
#include "actors/messages.h"
#include "actors/messages_audio.h"
#include "actors/stream_call.h"

namespace lapidary {

// Asks whoever plays `role`, an Actor, and calls done(Reply) once, from the
// actor `self`; where nobody answers, with Reply{UNAVAILABLE}.
template <class Actor, class Reply, class Self, class Question, class Done>
void RequestFrom(Self* self, const CallContext& context, const char* role,
                 const Question& question, Done done) {
  auto lost = [self, done, role](caf::error& error) {
    done(Reply{absl::UnavailableError(
                   absl::StrCat(role, " was lost meanwhile; try again: ",
                                self->system().render(error))),
               {}});
  };
  self->request(context.directory, context.role_timeout, Lookup{role})
      .then(
          [self, role, question, done,
           lost](const caf::strong_actor_ptr& actor) {
            if (actor == nullptr) {
              return done(Reply{absl::UnavailableError(absl::StrCat(
                                    "no ", role, " is alive; try again")),
                                {}});
            }
            self->request(caf::actor_cast<Actor>(actor), caf::infinite,
                          question)
                .then(done, lost);
          },
          lost);
}

// Calls done(const EncodedMedium&), once, from the actor `self`. A status that
// is not OK names image.field.
//   cancelled  as EncodeImage
template <class Self, class Done>
void RequestSoftTokens(Self* self, const CallContext& context,
                       const PromptMedium& image,
                       std::shared_ptr<const std::atomic<bool>> cancelled,
                       Done done) {
  auto answer = [done, field = image.field](const EncodedMedium& encoded) {
    if (encoded.status.ok()) return done(encoded);
    done(EncodedMedium{
        absl::Status(encoded.status.code(),
                     absl::StrCat(field, ": ", encoded.status.message())),
        {}});
  };
  auto encode = [self, &context, cancelled, answer, kind = image.kind](
                    std::shared_ptr<const std::string> file, std::string key) {
    if (kind == MediumKind::kSound) {
      return RequestFrom<AudioActor, EncodedMedium>(
          self, context, "audio",
          EncodeSound{std::move(file), cancelled, std::move(key)}, answer);
    }
    RequestFrom<VisionActor, EncodedMedium>(
        self, context, "vision",
        EncodeImage{std::move(file), cancelled, std::move(key), ""}, answer);
  };
  if (image.file != nullptr) return encode(image.file, image.key);
  RequestFrom<MediaFetchActor, FetchedMedia>(
      self, context, kMediaFetchRole, FetchMediaFile{*image.source, cancelled},
      [encode, answer](const FetchedMedia& fetched) {
        if (!fetched.status.ok()) return answer({fetched.status, {}});
        encode(fetched.file, fetched.key);
      });
}

inline bool NeedsMeasuring(const PromptMedium& medium) {
  return medium.kind == MediumKind::kSound && medium.rows.empty();
}

// Asks into how many windows a sound is cut, and calls done(const
// MeasuredSound&), once, from the actor `self`. What had to be fetched for it
// becomes sound->file. A status that is not OK names sound->field.
//   sound  must live until then
template <class Self, class Done>
void RequestMeasure(Self* self, const CallContext& context, PromptMedium* sound,
                    std::shared_ptr<const std::atomic<bool>> cancelled,
                    Done done) {
  auto answer = [done, field = sound->field](const MeasuredSound& measured) {
    if (measured.status.ok()) return done(measured);
    done(MeasuredSound{
        absl::Status(measured.status.code(),
                     absl::StrCat(field, ": ", measured.status.message())),
        1});
  };
  auto measure = [self, &context, sound, cancelled, answer] {
    RequestFrom<AudioActor, MeasuredSound>(
        self, context, "audio",
        MeasureSound{sound->file, sound->key, cancelled}, answer);
  };
  if (sound->file != nullptr) return measure();
  RequestFrom<MediaFetchActor, FetchedMedia>(
      self, context, kMediaFetchRole, FetchMediaFile{*sound->source, cancelled},
      [sound, measure, answer](const FetchedMedia& fetched) {
        if (!fetched.status.ok()) return answer({fetched.status, 1});
        sound->file = fetched.file;
        sound->key = fetched.key;
        measure();
      });
}

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_MEDIA_REQUEST_H_
