// Images and sounds of a prompt: taken from its parts, and put in their places
// among its tokens.
#ifndef LAPIDARY_ACTORS_PROMPT_MEDIA_H_
#define LAPIDARY_ACTORS_PROMPT_MEDIA_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "actors/messages.h"
#include "actors/served_model.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary {

// Encode::media, as parts take them one after the other.
struct GivenMedia {
  absl::Span<const kernels::Tensor> rows;
  size_t next = 0;
};

// Errors: those that lapidary.proto gives, naming `field`, the value and what
// would be right. The medium's place in the prompt is left open.
//   given  null: the part must hold all that there is
absl::StatusOr<PromptMedium> TakeImage(const ServedModel& model,
                                       const v1::Image& image,
                                       const std::string& field,
                                       GivenMedia* given = nullptr);
absl::StatusOr<PromptMedium> TakeSound(const ServedModel& model,
                                       const v1::Audio& audio,
                                       const std::string& field,
                                       GivenMedia* given = nullptr);

// Windows of a sound, as far as they are known; 1 for an image.
int64_t WindowsOf(const ServedModel& model, const PromptMedium& medium);

// Of an image or a window: fewer than the model's where a sound comes without
// its padding.
int64_t PlacesOf(const ServedModel& model, const PromptMedium& medium);

// Whether so many can be in a prompt at all, before any of them is rendered: a
// part of a few bytes makes hundreds of tokens.
absl::Status CheckMediaFit(const ServedModel& model,
                           absl::Span<const PromptMedium> media);

// Finds the places of media in a rendered prompt.
absl::Status PlaceMedia(const ServedModel& model, absl::Span<const int32_t> ids,
                        std::vector<PromptMedium>* media);

// That a prompt of so many tokens does not fit the context, or not with the
// `answer` tokens that are to follow; 0 where none are.
absl::Status PromptTooLong(int64_t prompt, int64_t answer, int64_t context);

// Gives each sound of a request its windows, as if there were so many audio
// parts one after the other, and holds the longer prompt against the context.
//   windows  [encoded->media]
absl::Status WidenSounds(const ServedModel& model,
                         absl::Span<const int32_t> windows, Encoded* encoded);

// Puts the rows that a medium was encoded to into the prompt's.
absl::Status AddSoftTokens(const PromptMedium& medium,
                           const kernels::Tensor& rows, Submit* submit);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_PROMPT_MEDIA_H_
