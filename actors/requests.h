// From a client's request to what the sequencer takes: everything that can be
// wrong with a request is found here, and said with the field, the value and
// what would be right.
#ifndef LAPIDARY_ACTORS_REQUESTS_H_
#define LAPIDARY_ACTORS_REQUESTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "actors/messages.h"
#include "actors/served_model.h"
#include "proto/lapidary/v1/lapidary.pb.h"
#include "storage/model_config.h"

namespace lapidary {

inline constexpr int32_t kMaxTopLogprobs = 64;
inline constexpr int kMaxStopStrings = 16;
inline constexpr size_t kMaxStopBytes = 256;
inline constexpr int kMaxLogitBiases = 1024;

// The sequence's number, age and deadline are left to the caller.
//   media  as Encode::media
absl::StatusOr<Encoded> CheckGenerate(
    const ServedModel& model, const v1::GenerateRequest& request,
    absl::Span<const kernels::Tensor> media = {});
absl::StatusOr<Encoded> CheckScore(const ServedModel& model,
                                   const v1::ScoreRequest& request);
absl::StatusOr<Encoded> CheckEncodeMedia(const ServedModel& model,
                                         const v1::EncodeMediaRequest& request);
absl::StatusOr<v1::TokenizeResponse> Tokenize(
    const ServedModel& model, const v1::TokenizeRequest& request);
absl::StatusOr<v1::DetokenizeResponse> Detokenize(
    const ServedModel& model, const v1::DetokenizeRequest& request);

// The checkpoint's defaults, as a request would say them.
v1::Sampling DefaultSampling(const GenerationDefaults& generation);

absl::StatusOr<v1::ConverseRequest> ParseConverse(const std::string& bytes);

// Parses the serialized request, checks it and does what can be done without
// the model.
Encoded EncodeRequest(const ServedModel& model, const Encode& encode);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_REQUESTS_H_
