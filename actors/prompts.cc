#include "actors/prompts.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "storage/chat_template.h"
#include "storage/file_io.h"
#include "storage/media_source.h"

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

absl::StatusOr<PromptImage> TakeImage(const ServedModel& model,
                                      const v1::Image& image,
                                      const std::string& field) {
  PromptImage taken;
  taken.field = field;
  const int forms = image.has_soft_tokens() + !image.data().empty() +
                    !image.url().empty() + !image.file().empty();
  if (forms > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, " has ", forms,
                     " of data, soft_tokens, url and file; send one of them"));
  }
  if (image.has_soft_tokens()) {
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
  if (!image.url().empty() || !image.file().empty()) {
    taken.source = image.file().empty()
                       ? MediaSource{MediaSource::Kind::kUrl, image.url()}
                       : MediaSource{MediaSource::Kind::kFile, image.file()};
    const absl::Status allowed = AllowMedia(model.media, *taken.source);
    if (!allowed.ok()) {
      return absl::Status(allowed.code(),
                          absl::StrCat(field, ": ", allowed.message()));
    }
    return taken;
  }
  if (image.data().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, ".data is empty; give it a PNG, JPEG, WebP or GIF file"));
  }
  taken.file = std::make_shared<const std::string>(image.data());
  taken.key = Checksum(*taken.file);
  return taken;
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

}  // namespace lapidary
