#include "actors/requests.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "actors/utf8_fields.h"
#include "storage/chat_template.h"
#include "storage/utf8.h"

namespace lapidary {
namespace {

using Ids = std::vector<int32_t>;

// A prompt in token ids, and the images in it.
struct PromptTokens {
  Ids ids;
  std::vector<PromptImage> images;
};

absl::Status CheckModelName(const ServedModel& model, const std::string& name) {
  if (name.empty() || name == model.name) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("model: ", Quoted(name),
                                          " is not served here; there is ",
                                          Quoted(model.name)));
}

absl::Status CheckTextBytes(const ServedModel& model, absl::string_view field,
                            size_t bytes) {
  if (bytes <= model.max_text_bytes) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(field, ": ", bytes,
                                            " bytes of text, the limit is ",
                                            model.max_text_bytes));
}

absl::Status CheckIds(const ServedModel& model, absl::string_view field,
                      absl::Span<const int32_t> ids) {
  const kernels::text::TextConfig& text = model.config.text;
  for (size_t i = 0; i < ids.size(); ++i) {
    const int32_t id = ids[i];
    if (id >= 0 && id < text.vocab_size_per_layer_input) continue;
    if (id >= 0 && id < text.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          field, "[", i, "] is ", id, ": ids from ",
          text.vocab_size_per_layer_input,
          " on stand for images and sound and cannot be given as text; use an "
          "image or audio part"));
    }
    return absl::InvalidArgumentError(
        absl::StrCat(field, "[", i, "] is ", id, ", token ids are in [0, ",
                     text.vocab_size_per_layer_input, ")"));
  }
  return absl::OkStatus();
}

// --- Prompt -----------------------------------------------------------------

// Soft tokens that a client sends, as the stage takes them.
absl::StatusOr<kernels::Tensor> TakeSoftTokens(const ServedModel& model,
                                               const v1::SoftTokens& soft,
                                               const std::string& field) {
  const ModelConfig& config = model.config;
  const int64_t width = config.text.hidden_size;
  const int64_t tokens = config.image_rows();
  const size_t bytes = tokens * width * sizeof(float);
  if (soft.tokens() != tokens || soft.width() != width ||
      soft.values().size() != bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, " has ", soft.tokens(), " tokens of ", soft.width(),
                     " in ", soft.values().size(), " bytes, this model takes ",
                     tokens, " of ", width, " in ", bytes,
                     "; send what EncodeMedia of the same model gave"));
  }
  auto buffer = kernels::AlignedBuffer::Make(bytes);
  if (buffer == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat(field, ": no memory for ", bytes, " bytes"));
  }
  std::memcpy(buffer->data(), soft.values().data(), bytes);
  const auto* values = reinterpret_cast<const float*>(buffer->data());
  for (int64_t i = 0; i < tokens * width; ++i) {
    if (std::isfinite(values[i])) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        field, ".values[", i, "] is ", values[i], "; all must be finite"));
  }
  return kernels::Tensor(kernels::DType::kF32, {tokens, width},
                         std::move(buffer));
}

// Its place in the prompt is left to the caller.
absl::StatusOr<PromptImage> TakeImage(const ServedModel& model,
                                      const v1::Image& image,
                                      const std::string& field) {
  PromptImage taken;
  taken.field = field;
  if (image.has_soft_tokens()) {
    if (!image.data().empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, " has data and soft_tokens; send one of them"));
    }
    if (!model.config.image_token_id.has_value()) {
      return absl::UnimplementedError(
          absl::StrCat(field, ": ", model.no_images));
    }
    auto rows = TakeSoftTokens(model, image.soft_tokens(),
                               absl::StrCat(field, ".soft_tokens"));
    if (!rows.ok()) return rows.status();
    taken.rows = *std::move(rows);
    return taken;
  }
  if (!model.no_images.empty()) {
    return absl::UnimplementedError(absl::StrCat(field, ": ", model.no_images));
  }
  if (image.data().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, ".data is empty; give it a PNG, JPEG, WebP or GIF file"));
  }
  taken.file = std::make_shared<const std::string>(image.data());
  return taken;
}

absl::StatusOr<ChatMessage> ToChatMessage(const ServedModel& model,
                                          const v1::Message& message,
                                          const std::string& field,
                                          size_t* bytes,
                                          std::vector<PromptImage>* images) {
  std::vector<ChatPart> parts;
  for (int i = 0; i < message.parts_size(); ++i) {
    const v1::Part& part = message.parts(i);
    const std::string name = absl::StrCat(field, ".parts[", i, "]");
    switch (part.content_case()) {
      case v1::Part::kText:
        *bytes += part.text().size();
        parts.push_back({ChatPart::Kind::kText, part.text()});
        break;
      case v1::Part::kImage: {
        if (message.role() == "system") {
          return absl::InvalidArgumentError(absl::StrCat(
              name,
              ".image: a system message is text; put images into a "
              "user's"));
        }
        auto image =
            TakeImage(model, part.image(), absl::StrCat(name, ".image"));
        if (!image.ok()) return image.status();
        images->push_back(*std::move(image));
        ChatPart soft{ChatPart::Kind::kImage, ""};
        soft.soft_tokens = model.config.vision_soft_tokens_per_image;
        parts.push_back(std::move(soft));
        break;
      }
      case v1::Part::kAudio:
        return absl::UnimplementedError(absl::StrCat(
            name,
            ".audio: no node plays the role `audio`; this server takes "
            "text and image parts"));
      case v1::Part::CONTENT_NOT_SET:
        return absl::InvalidArgumentError(
            absl::StrCat(name, " is empty; give it a text or an image"));
    }
  }
  if (parts.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ".parts is empty; a message needs a part"));
  }
  if (parts.size() == 1 && parts[0].kind == ChatPart::Kind::kText) {
    return ChatMessage::Text(message.role(), std::move(parts[0].text));
  }
  return ChatMessage::List(message.role(), std::move(parts));
}

// `field` needs the model's tokenizer.
absl::Status NeedTokenizer(const ServedModel& model, absl::string_view field) {
  if (model.tokenizer != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(field, ": model \"", model.name,
                   "\" was packed without a tokenizer.model; send token ids "
                   "(prompt.ids), or pack a folder that has one"));
}

// Where each image's soft tokens begin.
absl::Status PlaceImages(const ServedModel& model, PromptTokens* prompt) {
  auto at = prompt->ids.begin();
  const auto end = prompt->ids.end();
  for (PromptImage& image : prompt->images) {
    at = std::find(at, end, *model.config.image_token_id);
    if (end - at < model.config.image_rows()) {
      return absl::InternalError(
          absl::StrCat(image.field, " has no place in the prompt"));
    }
    image.first_position = static_cast<int32_t>(at - prompt->ids.begin());
    at += model.config.image_rows();
  }
  return absl::OkStatus();
}

// Before any of them is rendered: a part of a few bytes makes hundreds of
// tokens.
absl::Status CheckImagesFit(const ServedModel& model,
                            const std::vector<PromptImage>& images) {
  const int64_t tokens =
      static_cast<int64_t>(images.size()) * model.config.image_rows();
  const int64_t context = model.config.text.max_position_embeddings;
  if (tokens <= context) return absl::OkStatus();
  return absl::OutOfRangeError(
      absl::StrCat("prompt.chat: the first ", images.size(), " images take ",
                   tokens, " tokens, the model's context has ", context));
}

absl::StatusOr<PromptTokens> ChatIds(const ServedModel& model,
                                     const v1::Chat& chat,
                                     bool generation_prompt) {
  if (chat.messages_size() == 0) {
    return absl::InvalidArgumentError(
        "prompt.chat.messages is empty; a chat needs a message");
  }
  size_t bytes = 0;
  PromptTokens prompt;
  std::vector<ChatMessage> messages;
  for (int i = 0; i < chat.messages_size(); ++i) {
    auto message = ToChatMessage(model, chat.messages(i),
                                 absl::StrCat("prompt.chat.messages[", i, "]"),
                                 &bytes, &prompt.images);
    if (!message.ok()) return message.status();
    messages.push_back(*std::move(message));
    const absl::Status fit = CheckImagesFit(model, prompt.images);
    if (!fit.ok()) return fit;
  }
  absl::Status status = CheckTextBytes(model, "prompt.chat", bytes);
  if (status.ok()) status = NeedTokenizer(model, "prompt.chat");
  if (!status.ok()) return status;
  if (chat.has_add_generation_prompt()) {
    generation_prompt = chat.add_generation_prompt();
  }
  auto ids = RenderChatIds(*model.tokenizer, messages, generation_prompt);
  if (!ids.ok()) {
    return absl::Status(
        ids.status().code(),
        absl::StrCat("prompt.chat.messages: ", ids.status().message()));
  }
  prompt.ids = *std::move(ids);
  status = PlaceImages(model, &prompt);
  if (!status.ok()) return status;
  return prompt;
}

absl::StatusOr<Ids> TextIds(const ServedModel& model, absl::string_view field,
                            const std::string& text, bool add_bos) {
  absl::Status status = CheckTextBytes(model, field, text.size());
  if (status.ok()) status = NeedTokenizer(model, field);
  if (!status.ok()) return status;
  auto ids = model.tokenizer->Encode(text, SpecialTokens::kRecognise);
  if (ids.ok() && add_bos) {
    ids->insert(ids->begin(), model.tokenizer->bos_id());
  }
  return ids;
}

absl::StatusOr<PromptTokens> OnlyIds(absl::StatusOr<Ids> ids) {
  if (!ids.ok()) return ids.status();
  return PromptTokens{*std::move(ids), {}};
}

absl::StatusOr<PromptTokens> ReadPrompt(const ServedModel& model,
                                        const v1::Prompt& prompt,
                                        bool generation_prompt, bool add_bos) {
  switch (prompt.input_case()) {
    case v1::Prompt::kChat:
      return ChatIds(model, prompt.chat(), generation_prompt);
    case v1::Prompt::kText:
      if (prompt.text().empty()) {
        return absl::InvalidArgumentError(
            "prompt.text is empty; give it a text");
      }
      return OnlyIds(TextIds(model, "prompt.text", prompt.text(), add_bos));
    case v1::Prompt::kIds:
      if (prompt.ids().ids().empty()) {
        return absl::InvalidArgumentError(
            "prompt.ids is empty; give it at least one token");
      }
      return PromptTokens{
          {prompt.ids().ids().begin(), prompt.ids().ids().end()}, {}};
    case v1::Prompt::INPUT_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      "prompt is missing; give it a chat, a text or ids");
}

// The same, and every id is one that the text model knows or an image's.
absl::StatusOr<PromptTokens> ReadCheckedPrompt(const ServedModel& model,
                                               const v1::Prompt& prompt,
                                               bool generation_prompt) {
  auto tokens = ReadPrompt(model, prompt, generation_prompt, /*add_bos=*/true);
  if (!tokens.ok()) return tokens;
  // What the template made of images is right by construction.
  if (!tokens->images.empty()) return tokens;
  const absl::Status status =
      CheckIds(model, prompt.has_ids() ? "prompt.ids" : "tokens of the prompt",
               tokens->ids);
  if (!status.ok()) return status;
  return tokens;
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
  if (wanted > left) {
    return absl::OutOfRangeError(absl::StrCat(
        "prompt of ", prompt_tokens, " tokens and max_tokens of ", wanted,
        " exceed the model's context of ", context, " tokens"));
  }
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
                                      const v1::GenerateRequest& request) {
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
  auto prompt = ReadCheckedPrompt(model, request.prompt(), true);
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
  encoded.images = std::move(prompt->images);
  submit.sampling = *std::move(sampling);
  submit.max_tokens = *max_tokens;
  if (!request.ignore_eos()) {
    submit.eos_ids = model.config.generation.eos_token_ids;
  }
  if (request.has_top_logprobs()) submit.top_logprobs = request.top_logprobs();
  submit.time_limit_ns = int64_t{request.time_limit_ms()} * 1000000;
  // Kept blocks are found by token ids, which say nothing of an image.
  submit.no_prefix_cache = request.no_prefix_cache() || !encoded.images.empty();
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
  encoded.images = std::move(prompt->images);
  encoded.submit.no_prefix_cache = !encoded.images.empty();
  encoded.submit.top_logprobs = request.top_logprobs();
  encoded.continuation_tokens = static_cast<int32_t>(continuation.size());
  return encoded;
}

absl::StatusOr<Encoded> CheckEncodeMedia(
    const ServedModel& model, const v1::EncodeMediaRequest& request) {
  const absl::Status status = CheckModelName(model, request.model());
  if (!status.ok()) return status;
  if (request.image().has_soft_tokens()) {
    return absl::InvalidArgumentError(
        "image.soft_tokens are what this call makes; send data");
  }
  auto image = TakeImage(model, request.image(), "image");
  if (!image.ok()) return image.status();
  Encoded encoded;
  encoded.submit.task = Task::kEncodeMedia;
  encoded.images.push_back(*std::move(image));
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

Encoded EncodeRequest(const ServedModel& model, const Encode& encode) {
  switch (encode.task) {
    case Task::kGenerate:
      return ToEncoded(
          ParseAnd<v1::GenerateRequest>(model, encode.request, CheckGenerate));
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
