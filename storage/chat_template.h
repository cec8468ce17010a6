// Gemma 3n's chat template, natively: what Hugging Face's apply_chat_template
// makes of a conversation.
//
//   <bos>
//   for each turn    <start_of_turn>{role}\n{content}<end_of_turn>\n
//   to be answered   <start_of_turn>model\n
//
// The role `assistant` is written `model`. A first `system` message has no turn
// of its own: its text, untrimmed, and two newlines begin the content of the
// first turn. Other text is trimmed of white space as Python's str.strip does;
// the parts of a list are trimmed one by one and joined with nothing between.
#ifndef LAPIDARY_STORAGE_CHAT_TEMPLATE_H_
#define LAPIDARY_STORAGE_CHAT_TEMPLATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/tokenizer.h"

namespace lapidary {

struct ChatPart {
  enum class Kind { kText, kImage, kAudio };
  Kind kind = Kind::kText;
  std::string text;  // of kText
  // Of kImage and kAudio, its soft tokens, as Hugging Face's processor puts
  // them in place of the template's one: two newlines, <start_of_image>, so
  // many <image_soft_token>, <end_of_image>, two newlines; of a sound the
  // tokens of those names. 0: the template's.
  int32_t soft_tokens = 0;
};

// One message of a conversation.
struct ChatMessage {
  // The forms of `content` in Hugging Face's messages.
  enum class Form {
    kString,  // exactly one part, a text
    kList,    // any parts; none for a content of None
    kOther,   // a number, say: an error wherever it is needed
  };
  std::string role;
  Form form = Form::kString;
  std::vector<ChatPart> parts;

  static ChatMessage Text(std::string role, std::string text);
  static ChatMessage List(std::string role, std::vector<ChatPart> parts);
};

// The rendered text, equal to apply_chat_template(tokenize=False). As there, a
// role at an assistant's place is written as it is; invalid UTF-8 in texts and
// roles becomes U+FFFD.
//
// Errors: INVALID_ARGUMENT where Hugging Face raises, with its words where the
// template has words ("Conversation roles must alternate
// user/assistant/user/assistant/...", "Invalid content type").
absl::StatusOr<std::string> RenderChatText(
    absl::Span<const ChatMessage> messages, bool add_generation_prompt);

// The rendered conversation's ids, equal to apply_chat_template(tokenize=True)
// for texts that hold no names of control tokens. Where a text does hold one,
// it stays text: only the template's own control tokens, and one soft token for
// each picture and sound, are control tokens here.
//
// Errors: as RenderChatText; INVALID_ARGUMENT also for a role that is not
// system, user, assistant or model, for a text that Tokenizer::Encode refuses,
// and for a picture or sound whose soft token the tokenizer lacks.
absl::StatusOr<std::vector<int32_t>> RenderChatIds(
    const Tokenizer& tokenizer, absl::Span<const ChatMessage> messages,
    bool add_generation_prompt);

// Whether `jinja` is the template that is rendered here: equal to Gemma 3n's
// published one but for what Jinja does not see, such as indentation between
// trimmed tags, spaces within them and the kind of quotes.
bool IsGemma3nTemplate(absl::string_view jinja);

// Checks the chat template of a Hugging Face folder: chat_template.jinja, or
// `chat_template` in tokenizer_config.json, chat_template.json or
// processor_config.json.
//
// Errors: FAILED_PRECONDITION for another template or none, which says that
// --chat-template=gemma3n takes it for Gemma's; INVALID_ARGUMENT for a file
// that cannot be read.
absl::Status CheckChatTemplate(const std::string& folder);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_CHAT_TEMPLATE_H_
