#include "actors/prompts.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "actors/prompt_media.h"
#include "storage/chat_template.h"

namespace lapidary {
namespace {

using Ids = std::vector<int32_t>;

absl::Status CheckTextBytes(const ServedModel& model, absl::string_view field,
                            size_t bytes) {
  if (bytes <= model.max_text_bytes) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat(field, ": ", bytes,
                                            " bytes of text, the limit is ",
                                            model.max_text_bytes));
}

// An image or a sound; of the latter one for each of its windows.
absl::Status AddMedium(const ServedModel& model, const v1::Message& message,
                       const v1::Part& part, const std::string& name,
                       GivenMedia* given, std::vector<ChatPart>* parts,
                       std::vector<PromptMedium>* media) {
  const bool sound = part.has_audio();
  const std::string field = absl::StrCat(name, sound ? ".audio" : ".image");
  if (message.role() == "system") {
    return absl::InvalidArgumentError(
        absl::StrCat(field,
                     ": a system message is text; put images and sounds "
                     "into a user's"));
  }
  auto medium = sound ? TakeSound(model, part.audio(), field, given)
                      : TakeImage(model, part.image(), field, given);
  if (!medium.ok()) return medium.status();
  ChatPart soft{sound ? ChatPart::Kind::kAudio : ChatPart::Kind::kImage, ""};
  // The token that ends a medium may have a row as well, and is the template's.
  const int64_t ends = sound ? model.config.sound_rows() -
                                   model.config.audio_soft_tokens_per_image
                             : model.config.image_rows() -
                                   model.config.vision_soft_tokens_per_image;
  soft.soft_tokens = static_cast<int32_t>(PlacesOf(model, *medium) - ends);
  parts->insert(parts->end(), WindowsOf(model, *medium), soft);
  media->push_back(*std::move(medium));
  return absl::OkStatus();
}

absl::StatusOr<ChatMessage> ToChatMessage(const ServedModel& model,
                                          const v1::Message& message,
                                          const std::string& field,
                                          size_t* bytes, GivenMedia* given,
                                          std::vector<PromptMedium>* media) {
  std::vector<ChatPart> parts;
  for (int i = 0; i < message.parts_size(); ++i) {
    const v1::Part& part = message.parts(i);
    const std::string name = absl::StrCat(field, ".parts[", i, "]");
    switch (part.content_case()) {
      case v1::Part::kText:
        *bytes += part.text().size();
        parts.push_back({ChatPart::Kind::kText, part.text()});
        break;
      case v1::Part::kImage:
      case v1::Part::kAudio: {
        const absl::Status status =
            AddMedium(model, message, part, name, given, &parts, media);
        if (!status.ok()) return status;
        break;
      }
      case v1::Part::CONTENT_NOT_SET:
        return absl::InvalidArgumentError(absl::StrCat(
            name, " is empty; give it a text, an image or a sound"));
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

absl::StatusOr<PromptTokens> ChatIds(const ServedModel& model,
                                     const v1::Chat& chat,
                                     bool generation_prompt,
                                     absl::Span<const kernels::Tensor> media) {
  if (chat.messages_size() == 0) {
    return absl::InvalidArgumentError(
        "prompt.chat.messages is empty; a chat needs a message");
  }
  size_t bytes = 0;
  GivenMedia given{media, 0};
  PromptTokens prompt;
  std::vector<ChatMessage> messages;
  for (int i = 0; i < chat.messages_size(); ++i) {
    auto message = ToChatMessage(model, chat.messages(i),
                                 absl::StrCat("prompt.chat.messages[", i, "]"),
                                 &bytes, &given, &prompt.media);
    if (!message.ok()) return message.status();
    messages.push_back(*std::move(message));
    const absl::Status fit = CheckMediaFit(model, prompt.media);
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
  status = PlaceMedia(model, prompt.ids, &prompt.media);
  if (!status.ok()) return status;
  return prompt;
}

absl::StatusOr<PromptTokens> OnlyIds(absl::StatusOr<Ids> ids) {
  if (!ids.ok()) return ids.status();
  return PromptTokens{*std::move(ids), {}};
}

}  // namespace

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

absl::Status NeedTokenizer(const ServedModel& model, absl::string_view field) {
  if (model.tokenizer != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(field, ": model \"", model.name,
                   "\" was packed without a tokenizer.model; send token ids "
                   "(prompt.ids), or pack a folder that has one"));
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

absl::StatusOr<PromptTokens> ReadPrompt(
    const ServedModel& model, const v1::Prompt& prompt, bool generation_prompt,
    bool add_bos, absl::Span<const kernels::Tensor> media) {
  switch (prompt.input_case()) {
    case v1::Prompt::kChat:
      return ChatIds(model, prompt.chat(), generation_prompt, media);
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

absl::StatusOr<PromptTokens> ReadCheckedPrompt(
    const ServedModel& model, const v1::Prompt& prompt, bool generation_prompt,
    absl::Span<const kernels::Tensor> media) {
  auto tokens =
      ReadPrompt(model, prompt, generation_prompt, /*add_bos=*/true, media);
  if (!tokens.ok()) return tokens;
  // What the template made of media is right by construction.
  if (!tokens->media.empty()) return tokens;
  const absl::Status status =
      CheckIds(model, prompt.has_ids() ? "prompt.ids" : "tokens of the prompt",
               tokens->ids);
  if (!status.ok()) return status;
  return tokens;
}

}  // namespace lapidary
