// From the prompt of a client's request to token ids, and the images and sounds
// among them.
#ifndef LAPIDARY_ACTORS_PROMPTS_H_
#define LAPIDARY_ACTORS_PROMPTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "actors/messages.h"
#include "actors/served_model.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary {

// A prompt in token ids, and the images and sounds in it, in order.
struct PromptTokens {
  std::vector<int32_t> ids;
  std::vector<PromptMedium> media;
};

// Errors of all below: those that lapidary.proto gives, naming the field, the
// value and what would be right.

//   media  as Encode::media
absl::StatusOr<PromptTokens> ReadPrompt(
    const ServedModel& model, const v1::Prompt& prompt, bool generation_prompt,
    bool add_bos, absl::Span<const kernels::Tensor> media = {});

// The same with BOS, and every id is one that the text model knows or an
// image's or sound's.
absl::StatusOr<PromptTokens> ReadCheckedPrompt(
    const ServedModel& model, const v1::Prompt& prompt, bool generation_prompt,
    absl::Span<const kernels::Tensor> media = {});

// A text's ids; control tokens spelt out in it are recognised.
absl::StatusOr<std::vector<int32_t>> TextIds(const ServedModel& model,
                                             absl::string_view field,
                                             const std::string& text,
                                             bool add_bos);

// All are the text model's.
absl::Status CheckIds(const ServedModel& model, absl::string_view field,
                      absl::Span<const int32_t> ids);

// `field` needs the model's tokenizer.
absl::Status NeedTokenizer(const ServedModel& model, absl::string_view field);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_PROMPTS_H_
