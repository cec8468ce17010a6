#include "actors/requests.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "actors/prompt_media.h"
#include "actors/prompts.h"
#include "actors/utf8_fields.h"
#include "storage/utf8.h"

namespace lapidary {
namespace {

using Ids = std::vector<int32_t>;

absl::Status CheckModelName(const ServedModel& model, const std::string& name) {
  if (name.empty() || name == model.name) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("model: ", Quoted(name),
                                          " is not served here; there is ",
                                          Quoted(model.name)));
}

// --- Sampling ---------------------------------------------------------------

uint64_t RandomSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

absl::StatusOr<kernels::SamplingParams> CheckSampling(
    const ServedModel& model, const v1::Sampling& given) {
  v1::Sampling sampling = DefaultSampling(model.config.generation);
  sampling.MergeFrom(given);
  kernels::SamplingParams params;
  params.temperature = sampling.temperature();
  params.top_k = sampling.top_k();
  params.top_p = sampling.top_p();
  params.min_p = sampling.min_p();
  params.repetition_penalty = sampling.repetition_penalty();
  params.seed = sampling.has_seed() ? sampling.seed() : RandomSeed();
  if (sampling.logit_bias_size() > kMaxLogitBiases) {
    return absl::InvalidArgumentError(
        absl::StrCat("sampling.logit_bias has ", sampling.logit_bias_size(),
                     " entries, at most ", kMaxLogitBiases, " are taken"));
  }
  params.logit_bias.assign(sampling.logit_bias().begin(),
                           sampling.logit_bias().end());
  std::sort(params.logit_bias.begin(), params.logit_bias.end());
  const absl::Status status = kernels::CheckSamplingParams(
      params,
      static_cast<int32_t>(model.config.text.vocab_size_per_layer_input));
  if (!status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("sampling.", status.message()));
  }
  return params;
}

absl::StatusOr<Priority> CheckPriority(v1::Priority priority) {
  switch (priority) {
    case v1::PRIORITY_LOW:
      return Priority::kLow;
    case v1::PRIORITY_UNSPECIFIED:
    case v1::PRIORITY_NORMAL:
      return Priority::kNormal;
    case v1::PRIORITY_HIGH:
      return Priority::kHigh;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("priority is ", static_cast<int>(priority),
                       ", it must be PRIORITY_LOW (1), PRIORITY_NORMAL (2) or "
                       "PRIORITY_HIGH (3)"));
  }
}

absl::Status CheckTopLogprobs(int32_t top) {
  if (top >= 0 && top <= kMaxTopLogprobs) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "top_logprobs is ", top, ", it must be in [0, ", kMaxTopLogprobs, "]"));
}

absl::StatusOr<std::vector<std::string>> CheckStop(
    const v1::GenerateRequest& request) {
  if (request.stop_size() > kMaxStopStrings) {
    return absl::InvalidArgumentError(
        absl::StrCat("stop has ", request.stop_size(), " strings, at most ",
                     kMaxStopStrings, " are taken"));
  }
  for (int i = 0; i < request.stop_size(); ++i) {
    const size_t bytes = request.stop(i).size();
    if (bytes < 1 || bytes > kMaxStopBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("stop[", i, "] has ", bytes,
                       " bytes, it must have 1 to ", kMaxStopBytes));
    }
  }
  return std::vector<std::string>(request.stop().begin(), request.stop().end());
}

// max_tokens, or its default; with the prompt it fits the context.
absl::StatusOr<int32_t> CheckMaxTokens(const ServedModel& model,
                                       const v1::GenerateRequest& request,
                                       int64_t prompt_tokens) {
  const int64_t context = model.config.text.max_position_embeddings;
  if (request.has_max_tokens() && request.max_tokens() < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_tokens is ", request.max_tokens(), ", it must be at least 1"));
  }
  const int64_t left = context - prompt_tokens;
  const int64_t wanted =
      request.has_max_tokens()
          ? request.max_tokens()
          : std::clamp<int64_t>(left, 1, model.default_max_tokens);
  if (wanted > left) return PromptTooLong(prompt_tokens, wanted, context);
  return static_cast<int32_t>(wanted);
}

// --- Bytes ------------------------------------------------------------------

template <typename Request>
absl::StatusOr<Request> Parse(const std::string& bytes) {
  absl::Status status = CheckUtf8Fields(*Request::descriptor(), bytes);
  if (!status.ok()) return status;
  Request request;
  if (!request.ParseFromString(bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the request is not a ",
                     std::string(Request::descriptor()->full_name()),
                     ": its bytes do not parse"));
  }
  return request;
}

template <typename Request, typename Check>
auto ParseAnd(const ServedModel& model, const std::string& bytes, Check check)
    -> decltype(check(model, Request())) {
  auto request = Parse<Request>(bytes);
  if (!request.ok()) return request.status();
  return check(model, *request);
}

Encoded ToEncoded(absl::StatusOr<Encoded> encoded) {
  if (encoded.ok()) return *std::move(encoded);
  Encoded failed;
  failed.status = encoded.status();
  return failed;
}

template <typename Response>
Encoded ToReply(const absl::StatusOr<Response>& response) {
  Encoded encoded;
  encoded.status = response.status();
  if (response.ok()) encoded.reply = response->SerializeAsString();
  return encoded;
}

}  // namespace

v1::Sampling DefaultSampling(const GenerationDefaults& generation) {
  v1::Sampling sampling;
  sampling.set_temperature(generation.do_sample ? generation.temperature : 0);
  sampling.set_top_k(generation.top_k);
  sampling.set_top_p(generation.top_p);
  sampling.set_min_p(generation.min_p);
  sampling.set_repetition_penalty(generation.repetition_penalty);
  return sampling;
}

absl::StatusOr<Encoded> CheckGenerate(const ServedModel& model,
                                      const v1::GenerateRequest& request,
                                      absl::Span<const kernels::Tensor> media) {
  absl::Status status = CheckModelName(model, request.model());
  if (!status.ok()) return status;
  auto sampling = CheckSampling(model, request.sampling());
  if (!sampling.ok()) return sampling.status();
  auto stop = CheckStop(request);
  if (!stop.ok()) return stop.status();
  if (!stop->empty()) {
    status = NeedTokenizer(model, "stop");
    if (!status.ok()) return status;
  }
  if (request.has_top_logprobs()) {
    status = CheckTopLogprobs(request.top_logprobs());
    if (!status.ok()) return status;
  }
  auto priority = CheckPriority(request.priority());
  if (!priority.ok()) return priority.status();
  auto prompt = ReadCheckedPrompt(model, request.prompt(), true, media);
  if (!prompt.ok()) return prompt.status();
  auto max_tokens =
      CheckMaxTokens(model, request, static_cast<int64_t>(prompt->ids.size()));
  if (!max_tokens.ok()) return max_tokens.status();

  Encoded encoded;
  Submit& submit = encoded.submit;
  submit.priority = *priority;
  if (request.ignore_eos() && stop->empty()) submit.min_tokens = *max_tokens;
  encoded.stop = *std::move(stop);
  submit.task = Task::kGenerate;
  submit.tokens = std::move(prompt->ids);
  encoded.media = std::move(prompt->media);
  submit.sampling = *std::move(sampling);
  submit.max_tokens = *max_tokens;
  encoded.fixed_max_tokens = request.has_max_tokens();
  if (!request.ignore_eos()) {
    submit.eos_ids = model.config.generation.eos_token_ids;
  }
  if (request.has_top_logprobs()) submit.top_logprobs = request.top_logprobs();
  submit.time_limit_ns = int64_t{request.time_limit_ms()} * 1000000;
  submit.no_prefix_cache = request.no_prefix_cache();
  return encoded;
}

absl::StatusOr<Encoded> CheckScore(const ServedModel& model,
                                   const v1::ScoreRequest& request) {
  absl::Status status = CheckModelName(model, request.model());
  if (!status.ok()) return status;
  status = CheckTopLogprobs(request.top_logprobs());
  if (!status.ok()) return status;
  auto priority = CheckPriority(request.priority());
  if (!priority.ok()) return priority.status();
  auto prompt = ReadCheckedPrompt(model, request.prompt(), false);
  if (!prompt.ok()) return prompt.status();
  Ids* ids = &prompt->ids;

  Ids continuation;
  if (request.has_continuation_ids()) {
    const auto& given = request.continuation_ids().ids();
    continuation.assign(given.begin(), given.end());
    status = CheckIds(model, "continuation_ids", continuation);
    if (!status.ok()) return status;
  } else if (request.has_continuation_text()) {
    auto encoded = TextIds(model, "continuation_text",
                           request.continuation_text(), /*add_bos=*/false);
    if (!encoded.ok()) return encoded.status();
    continuation = *std::move(encoded);
    status = CheckIds(model, "tokens of continuation_text", continuation);
    if (!status.ok()) return status;
  }
  ids->insert(ids->end(), continuation.begin(), continuation.end());
  const int64_t context = model.config.text.max_position_embeddings;
  if (static_cast<int64_t>(ids->size()) > context) {
    return absl::OutOfRangeError(
        absl::StrCat("prompt and continuation have ", ids->size(),
                     " tokens, the model's context has ", context));
  }
  Encoded encoded;
  encoded.submit.task = Task::kScore;
  encoded.submit.priority = *priority;
  encoded.submit.tokens = std::move(*ids);
  encoded.media = std::move(prompt->media);
  encoded.submit.top_logprobs = request.top_logprobs();
  encoded.continuation_tokens = static_cast<int32_t>(continuation.size());
  return encoded;
}

absl::StatusOr<Encoded> CheckEncodeMedia(
    const ServedModel& model, const v1::EncodeMediaRequest& request) {
  const absl::Status status = CheckModelName(model, request.model());
  if (!status.ok()) return status;
  if (request.has_image() == request.has_audio()) {
    return absl::InvalidArgumentError(
        request.has_image() ? "there are image and audio; send one of them"
                            : "there is neither image nor audio; send one");
  }
  if (request.image().has_soft_tokens() || request.audio().has_soft_tokens()) {
    return absl::InvalidArgumentError(absl::StrCat(
        request.has_audio() ? "audio" : "image",
        ".soft_tokens are what this call makes; send data, a url or a file"));
  }
  auto medium = request.has_audio()
                    ? TakeSound(model, request.audio(), "audio")
                    : TakeImage(model, request.image(), "image");
  if (!medium.ok()) return medium.status();
  Encoded encoded;
  encoded.submit.task = Task::kEncodeMedia;
  encoded.media.push_back(*std::move(medium));
  return encoded;
}

absl::StatusOr<v1::TokenizeResponse> Tokenize(
    const ServedModel& model, const v1::TokenizeRequest& request) {
  absl::Status status = CheckModelName(model, request.model());
  if (!status.ok()) return status;
  auto prompt = ReadPrompt(model, request.prompt(), false, !request.omit_bos());
  if (!prompt.ok()) return prompt.status();
  const Ids* ids = &prompt->ids;
  v1::TokenizeResponse response;
  response.mutable_ids()->Add(ids->begin(), ids->end());
  return response;
}

absl::StatusOr<v1::DetokenizeResponse> Detokenize(
    const ServedModel& model, const v1::DetokenizeRequest& request) {
  absl::Status status = CheckModelName(model, request.model());
  if (status.ok()) status = NeedTokenizer(model, "ids");
  if (!status.ok()) return status;
  const int64_t context = model.config.text.max_position_embeddings;
  if (request.ids_size() > context) {
    return absl::OutOfRangeError(absl::StrCat("ids has ", request.ids_size(),
                                              " tokens, at most ", context,
                                              " are taken at once"));
  }
  for (int i = 0; i < request.ids_size(); ++i) {
    if (request.ids(i) < 0 || request.ids(i) >= model.config.text.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          "ids[", i, "] is ", request.ids(i), ", token ids are in [0, ",
          model.config.text.vocab_size, ")"));
    }
  }
  v1::DetokenizeResponse response;
  response.set_text(model.tokenizer->Decode(
      absl::MakeConstSpan(request.ids().data(), request.ids_size()),
      request.skip_special()));
  return response;
}

absl::StatusOr<v1::ConverseRequest> ParseConverse(const std::string& bytes) {
  return Parse<v1::ConverseRequest>(bytes);
}

Encoded EncodeRequest(const ServedModel& model, const Encode& encode) {
  switch (encode.task) {
    case Task::kGenerate:
      return ToEncoded(ParseAnd<v1::GenerateRequest>(
          model, encode.request,
          [&](const ServedModel& m, const v1::GenerateRequest& request) {
            return CheckGenerate(m, request, encode.media);
          }));
    case Task::kScore:
      return ToEncoded(
          ParseAnd<v1::ScoreRequest>(model, encode.request, CheckScore));
    case Task::kTokenize:
      return ToReply(
          ParseAnd<v1::TokenizeRequest>(model, encode.request, Tokenize));
    case Task::kDetokenize:
      return ToReply(
          ParseAnd<v1::DetokenizeRequest>(model, encode.request, Detokenize));
    case Task::kEncodeMedia:
      return ToEncoded(ParseAnd<v1::EncodeMediaRequest>(model, encode.request,
                                                        CheckEncodeMedia));
  }
  Encoded unknown;
  unknown.status = absl::InvalidArgumentError("no such task");
  return unknown;
}

}  // namespace lapidary
