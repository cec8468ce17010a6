#include "deploy/cli/prompt_flags.h"

#include <iostream>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "storage/file_io.h"
#include "storage/json.h"
#include "storage/utf8.h"

namespace lapidary::cli {
namespace {

// Far above what a server takes by default.
constexpr size_t kMaxFileBytes = size_t{1} << 30;

absl::Status AddMedium(const std::string& kind, const std::string& path,
                       v1::Part* part) {
  absl::StatusOr<std::string> data = ReadFile(path, kMaxFileBytes);
  if (!data.ok()) return data.status();
  if (kind == "image") {
    part->mutable_image()->set_data(*std::move(data));
  } else {
    part->mutable_audio()->set_data(*std::move(data));
  }
  return absl::OkStatus();
}

absl::Status ParsePart(const Json& json, const std::string& what,
                       v1::Part* part) {
  JsonFields fields(json, what);
  const std::string type = fields.String("type", "");
  if (type == "text") {
    if (!fields.Has("text")) fields.Fail("text", "a string is wanted");
    part->set_text(fields.String("text", ""));
    return fields.status();
  }
  if (type != "image" && type != "audio") {
    fields.Fail("type", "text, image or audio is wanted");
    return fields.status();
  }
  const std::string path = fields.String("path", "");
  if (path.empty()) fields.Fail("path", "the path of a file is wanted");
  if (!fields.ok()) return fields.status();
  return AddMedium(type, path, part);
}

absl::Status ParseContent(const Json& content, const std::string& what,
                          v1::Message* message) {
  if (content.is_string()) {
    message->add_parts()->set_text(content.get<std::string>());
    return absl::OkStatus();
  }
  if (!content.is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " is ", JsonForMessage(content),
                     ": a string or a list of parts is wanted"));
  }
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string name = absl::StrCat(what, "[", i, "]");
    if (!content[i].is_object()) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, " is ", JsonForMessage(content[i]), ": a part is wanted, as ",
          "in {\"type\":\"text\",\"text\":\"…\"}"));
    }
    absl::Status parsed = ParsePart(content[i], name, message->add_parts());
    if (!parsed.ok()) return parsed;
  }
  return absl::OkStatus();
}

// The media that flags name come before the words of the last user turn, as in
// Gemma's own examples.
absl::Status AddMedia(const std::vector<std::string>& images,
                      const std::vector<std::string>& audios, v1::Chat* chat) {
  if (images.empty() && audios.empty()) return absl::OkStatus();
  v1::Message* last = nullptr;
  for (v1::Message& message : *chat->mutable_messages()) {
    if (message.role() == "user") last = &message;
  }
  if (last == nullptr) {
    return UsageError("--image and --audio need a user turn to stand in");
  }
  v1::Message with_media;
  with_media.set_role(last->role());
  for (const std::string& path : images) {
    absl::Status added = AddMedium("image", path, with_media.add_parts());
    if (!added.ok()) return added;
  }
  for (const std::string& path : audios) {
    absl::Status added = AddMedium("audio", path, with_media.add_parts());
    if (!added.ok()) return added;
  }
  for (v1::Part& part : *last->mutable_parts()) {
    with_media.add_parts()->Swap(&part);
  }
  last->Swap(&with_media);
  return absl::OkStatus();
}

}  // namespace

void AddText(absl::string_view role, const std::string& text, v1::Chat* chat) {
  v1::Message* message = chat->add_messages();
  message->set_role(std::string(role));
  message->add_parts()->set_text(text);
}

absl::StatusOr<std::string> ReadInput(const std::string& path) {
  if (path != "-") return ReadFile(path, kMaxFileBytes);
  std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  if (text.size() > kMaxFileBytes) {
    return absl::InvalidArgumentError("standard input is too long");
  }
  return text;
}

absl::Status CheckUtf8(absl::string_view text, absl::string_view what) {
  const size_t bad = FirstInvalidByte(text);
  if (bad == text.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: byte %d (0x%02x) is not UTF-8; convert the text first, for example "
      "with iconv -t UTF-8",
      what, bad, static_cast<unsigned char>(text[bad])));
}

absl::StatusOr<std::vector<int32_t>> ParseIds(absl::string_view text) {
  std::vector<int32_t> ids;
  for (absl::string_view word :
       absl::StrSplit(text, absl::ByAnyChar(", \t\n\r"), absl::SkipEmpty())) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(word, &id)) {
      return UsageError(absl::StrCat("--ids: ", word, " is no token id; ",
                                     "numbers with commas are wanted, as in ",
                                     "2,105,9731"));
    }
    ids.push_back(id);
  }
  if (ids.empty()) return UsageError("--ids: at least one id is wanted");
  return ids;
}

absl::StatusOr<v1::Chat> ParseMessages(absl::string_view text,
                                       absl::string_view what) {
  absl::StatusOr<Json> json = ParseJson(text, what);
  if (!json.ok()) return json.status();
  if (!json->is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": a list of messages is wanted, as in ",
                     "[{\"role\":\"user\",\"content\":\"…\"}]"));
  }
  v1::Chat chat;
  for (size_t i = 0; i < json->size(); ++i) {
    const Json& item = (*json)[i];
    const std::string name = absl::StrCat(what, ": [", i, "]");
    if (!item.is_object()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " is ", JsonForMessage(item),
                       ": a message with role and content is wanted"));
    }
    JsonFields fields(item, name);
    v1::Message* message = chat.add_messages();
    message->set_role(fields.String("role", ""));
    if (!fields.Has("role")) fields.Fail("role", "a string is wanted");
    if (!fields.Has("content")) {
      fields.Fail("content", "a string or a list of parts is wanted");
    }
    if (!fields.ok()) return fields.status();
    absl::Status content =
        ParseContent(*fields.Find("content"), fields.Name("content"), message);
    if (!content.ok()) return content;
  }
  return chat;
}

void PromptFlags::Define(FlagSet* flags) {
  flags->Section("Prompt");
  flags->OptionalText("prompt", "TEXT",
                      "Raw text to continue. <bos> is put in front, and "
                      "control tokens spelt out in it, such as "
                      "<start_of_turn>, are recognised.",
                      &prompt_);
  flags->OptionalText("prompt-file", "FILE",
                      "The same from a file; - is standard input.",
                      &prompt_file_);
  flags->OptionalText("ids", "ID,ID,…",
                      "Token ids, taken as they are: give <bos> (2) yourself.",
                      &ids_);
  flags->OptionalText("messages", "FILE",
                      "A conversation as Hugging Face writes it, JSON: "
                      "[{\"role\":\"user\",\"content\":\"…\"}]. Text in it "
                      "stays plain text. - is standard input.",
                      &messages_);
  flags->OptionalText("system", "TEXT",
                      "Instructions before the question's turn.", &system_);
  flags->Texts("image", "FILE",
               "A picture for the last user turn. Needs a node with the role "
               "vision.",
               &images_);
  flags->Texts("audio", "FILE",
               "A sound for the last user turn: WAV, FLAC, Ogg or MP3. Needs a "
               "node with the role audio.",
               &audios_);
}

bool PromptFlags::given() const {
  return prompt_ || prompt_file_ || ids_ || messages_;
}

absl::StatusOr<v1::Prompt> PromptFlags::Build(
    const std::optional<std::string>& question) const {
  const int sources = prompt_.has_value() + prompt_file_.has_value() +
                      ids_.has_value() + messages_.has_value() +
                      question.has_value();
  if (sources != 1) {
    return UsageError(absl::StrCat(
        sources == 0 ? "there is no prompt" : "there are several prompts",
        "; give one of a question, --prompt, --prompt-file, --ids and ",
        "--messages"));
  }
  if (system_ && !question) {
    return UsageError(
        "--system goes with a question only; in --messages, "
        "begin with a message of the role system");
  }
  v1::Prompt prompt;
  if (question || messages_) {
    if (system_) AddText("system", *system_, prompt.mutable_chat());
    if (question) {
      absl::Status valid = CheckUtf8(*question, "the question");
      if (!valid.ok()) return valid;
      AddText("user", *question, prompt.mutable_chat());
    } else {
      absl::StatusOr<std::string> json = ReadInput(*messages_);
      if (!json.ok()) return json.status();
      absl::StatusOr<v1::Chat> chat = ParseMessages(*json, *messages_);
      if (!chat.ok()) return chat.status();
      *prompt.mutable_chat() = *std::move(chat);
    }
    absl::Status media = AddMedia(images_, audios_, prompt.mutable_chat());
    if (!media.ok()) return media;
    return prompt;
  }
  if (!images_.empty() || !audios_.empty()) {
    return absl::UnimplementedError(
        "--image and --audio stand in a turn of a conversation; give the rest "
        "as a question or as --messages");
  }
  if (ids_) {
    absl::StatusOr<std::vector<int32_t>> ids = ParseIds(*ids_);
    if (!ids.ok()) return ids.status();
    prompt.mutable_ids()->mutable_ids()->Assign(ids->begin(), ids->end());
  } else if (prompt_) {
    absl::Status valid = CheckUtf8(*prompt_, "--prompt");
    if (!valid.ok()) return valid;
    prompt.set_text(*prompt_);
  } else {
    absl::StatusOr<std::string> text = ReadInput(*prompt_file_);
    if (!text.ok()) return text.status();
    absl::Status valid = CheckUtf8(*text, *prompt_file_);
    if (!valid.ok()) return valid;
    prompt.set_text(*std::move(text));
  }
  return prompt;
}

}  // namespace lapidary::cli
