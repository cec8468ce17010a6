#include "storage/chat_template.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/utf8.h"

namespace lapidary {
namespace {

// A stretch of the rendered conversation: text, or a control token's name.
struct Segment {
  bool control = false;
  std::string text;
  int32_t count = 1;  // of control tokens of that name, one after the other
};

// Collects segments, joining texts that touch: what is one stretch between
// control tokens is tokenized as one.
class Rendering {
 public:
  void Control(absl::string_view name, int32_t count = 1) {
    segments_.push_back({true, std::string(name), count});
  }
  void Text(absl::string_view text) {
    if (segments_.empty() || segments_.back().control) segments_.push_back({});
    absl::StrAppend(&segments_.back().text, text);
  }
  const std::vector<Segment>& segments() const { return segments_; }

 private:
  std::vector<Segment> segments_;
};

absl::StatusOr<std::string> SystemText(const ChatMessage& system) {
  if (system.form == ChatMessage::Form::kOther || system.parts.empty() ||
      system.parts[0].kind != ChatPart::Kind::kText) {
    return absl::InvalidArgumentError(
        "the content of a system message must be a text, or a list whose first "
        "item is a text");
  }
  return system.parts[0].text;
}

// `medium`: "image" or "audio".
void RenderMedium(absl::string_view medium, int32_t soft_tokens,
                  Rendering* rendering) {
  const std::string soft_token = absl::StrCat("<", medium, "_soft_token>");
  if (soft_tokens == 0) return rendering->Control(soft_token);
  rendering->Text("\n\n");
  rendering->Control(absl::StrCat("<start_of_", medium, ">"));
  rendering->Control(soft_token, soft_tokens);
  rendering->Control(absl::StrCat("<end_of_", medium, ">"));
  rendering->Text("\n\n");
}

absl::Status RenderTurn(const ChatMessage& message, absl::string_view prefix,
                        Rendering* rendering) {
  if (message.form == ChatMessage::Form::kOther) {
    return absl::InvalidArgumentError("Invalid content type");
  }
  rendering->Control("<start_of_turn>");
  rendering->Text(
      message.role == "assistant" ? "model" : ReplaceInvalidUtf8(message.role));
  rendering->Text("\n");
  rendering->Text(prefix);
  for (const ChatPart& part : message.parts) {
    switch (part.kind) {
      case ChatPart::Kind::kText:
        rendering->Text(StripWhitespace(ReplaceInvalidUtf8(part.text)));
        break;
      case ChatPart::Kind::kImage:
        RenderMedium("image", part.soft_tokens, rendering);
        break;
      case ChatPart::Kind::kAudio:
        RenderMedium("audio", part.soft_tokens, rendering);
        break;
    }
  }
  rendering->Control("<end_of_turn>");
  rendering->Text("\n");
  return absl::OkStatus();
}

absl::StatusOr<Rendering> Render(absl::Span<const ChatMessage> messages,
                                 bool add_generation_prompt) {
  if (messages.empty()) {
    return absl::InvalidArgumentError("a conversation needs a message");
  }
  Rendering rendering;
  rendering.Control("<bos>");
  std::string prefix;
  if (messages[0].role == "system") {
    absl::StatusOr<std::string> system = SystemText(messages[0]);
    if (!system.ok()) return system.status();
    prefix = absl::StrCat(ReplaceInvalidUtf8(*system), "\n\n");
    messages.remove_prefix(1);
  }
  for (size_t turn = 0; turn < messages.size(); ++turn) {
    if ((messages[turn].role == "user") != (turn % 2 == 0)) {
      return absl::InvalidArgumentError(
          "Conversation roles must alternate "
          "user/assistant/user/assistant/...");
    }
    const absl::Status status =
        RenderTurn(messages[turn], turn == 0 ? prefix : "", &rendering);
    if (!status.ok()) return status;
  }
  if (add_generation_prompt) {
    rendering.Control("<start_of_turn>");
    rendering.Text("model\n");
  }
  return rendering;
}

absl::Status CheckRoles(absl::Span<const ChatMessage> messages) {
  for (const ChatMessage& message : messages) {
    if (message.role == "user" || message.role == "assistant" ||
        message.role == "model" || message.role == "system") {
      continue;
    }
    return absl::InvalidArgumentError(
        absl::StrCat("the role ", Quoted(message.role),
                     " is none of system, user, assistant, model"));
  }
  return absl::OkStatus();
}

}  // namespace

ChatMessage ChatMessage::Text(std::string role, std::string text) {
  return {std::move(role),
          Form::kString,
          {{ChatPart::Kind::kText, std::move(text)}}};
}

ChatMessage ChatMessage::List(std::string role, std::vector<ChatPart> parts) {
  return {std::move(role), Form::kList, std::move(parts)};
}

absl::StatusOr<std::string> RenderChatText(
    absl::Span<const ChatMessage> messages, bool add_generation_prompt) {
  absl::StatusOr<Rendering> rendering = Render(messages, add_generation_prompt);
  if (!rendering.ok()) return rendering.status();
  std::string text;
  for (const Segment& segment : rendering->segments()) {
    for (int32_t i = 0; i < segment.count; ++i) text += segment.text;
  }
  return text;
}

absl::StatusOr<std::vector<int32_t>> RenderChatIds(
    const Tokenizer& tokenizer, absl::Span<const ChatMessage> messages,
    bool add_generation_prompt) {
  const absl::Status roles = CheckRoles(messages);
  if (!roles.ok()) return roles;
  absl::StatusOr<Rendering> rendering = Render(messages, add_generation_prompt);
  if (!rendering.ok()) return rendering.status();
  std::vector<int32_t> ids;
  for (const Segment& segment : rendering->segments()) {
    if (segment.control) {
      const std::optional<int32_t> id = tokenizer.TokenId(segment.text);
      if (!id.has_value()) {
        return absl::InvalidArgumentError(
            absl::StrCat("the tokenizer has no token ", segment.text));
      }
      ids.insert(ids.end(), segment.count, *id);
      continue;
    }
    absl::StatusOr<std::vector<int32_t>> text =
        tokenizer.Encode(segment.text, SpecialTokens::kPlainText);
    if (!text.ok()) return text.status();
    ids.insert(ids.end(), text->begin(), text->end());
  }
  return ids;
}

}  // namespace lapidary
