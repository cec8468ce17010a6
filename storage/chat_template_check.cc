// Whether a Jinja template is the one that chat_template.cc renders: both are
// brought to a form without what Jinja does not see, and compared.
#include <cctype>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/chat_template.h"
#include "storage/file_io.h"
#include "storage/json.h"
#include "storage/model_files.h"

namespace lapidary {
namespace {

constexpr size_t kMaxFileBytes = size_t{64} << 20;

// The template published with Gemma 3n.
constexpr absl::string_view kGemma3nTemplate = R"jinja({{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'audio' -%}
                {{ '<audio_soft_token>' }}
            {%- elif item['type'] == 'image' -%}
                {{ '<image_soft_token>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
)jinja";

bool IsSpace(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

bool IsWord(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// Position after the string literal that begins at `at`; its characters,
// without quotes and escapes, are appended to `out` between two NULs.
size_t CopyLiteral(absl::string_view source, size_t at, std::string* out) {
  const char quote = source[at++];
  out->push_back('\0');
  for (; at < source.size() && source[at] != quote; ++at) {
    char c = source[at];
    if (c == '\\' && at + 1 < source.size()) {
      c = source[++at];
      if (c == 'n') {
        c = '\n';
      } else if (c != '\\' && c != '\'' && c != '"') {
        out->push_back('\\');
      }
    }
    out->push_back(c);
  }
  out->push_back('\0');
  return at + 1;
}

// Copies the tag that begins at `at` ("{{" or "{%") up to and with its end,
// with white space only between words. Returns the position after it; sets
// `trims_right` to whether it ends in "-".
size_t CopyTag(absl::string_view source, size_t at, std::string* out,
               bool* trims_right) {
  const absl::string_view end = source[at + 1] == '{' ? "}}" : "%}";
  out->append(source.data() + at, 2);
  at += 2;
  if (at < source.size() && source[at] == '-') ++at;
  bool spaced = false;
  while (at < source.size()) {
    const absl::string_view rest = source.substr(at);
    *trims_right = rest[0] == '-' && absl::StartsWith(rest.substr(1), end);
    if (*trims_right || absl::StartsWith(rest, end)) {
      out->append(end.data(), end.size());
      return at + end.size() + (*trims_right ? 1 : 0);
    }
    if (rest[0] == '\'' || rest[0] == '"') {
      at = CopyLiteral(source, at, out);
      spaced = false;
      continue;
    }
    if (IsSpace(rest[0])) {
      spaced = true;
    } else {
      if (spaced && IsWord(out->back()) && IsWord(rest[0])) out->push_back(' ');
      out->push_back(rest[0]);
      spaced = false;
    }
    ++at;
  }
  return at;
}

// The template without what cannot be seen in its output: spaces in tags, the
// kind of quotes, and white space that a tag's "-" trims.
std::string Canonical(absl::string_view source) {
  std::string out;
  bool trims_right = false;
  size_t at = 0;
  while (at < source.size()) {
    size_t tag = at;
    while (tag < source.size() && !absl::StartsWith(source.substr(tag), "{{") &&
           !absl::StartsWith(source.substr(tag), "{%")) {
      ++tag;
    }
    absl::string_view text = source.substr(at, tag - at);
    while (trims_right && !text.empty() && IsSpace(text.front())) {
      text.remove_prefix(1);
    }
    const bool trims_left = tag + 2 < source.size() && source[tag + 2] == '-';
    while (trims_left && !text.empty() && IsSpace(text.back())) {
      text.remove_suffix(1);
    }
    out.append(text.data(), text.size());
    if (tag == source.size()) break;
    at = CopyTag(source, tag, &out, &trims_right);
  }
  return out;
}

// The string at `chat_template` in a JSON file; nothing if there is none.
absl::StatusOr<std::optional<std::string>> TemplateInJson(
    const std::string& folder, const char* name) {
  absl::StatusOr<std::string> text =
      ReadFile(absl::StrCat(folder, "/", name), kMaxFileBytes);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  if (!text.ok()) return text.status();
  absl::StatusOr<Json> json = ParseJson(*text, name);
  if (!json.ok()) return json.status();
  if (!json->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is not an object"));
  }
  JsonFields fields(*json, name);
  if (!fields.Has("chat_template")) return std::nullopt;
  std::string found = fields.String("chat_template", "");
  if (!fields.ok()) return fields.status();
  return found;
}

absl::Status CheckText(const std::string& where, absl::string_view jinja) {
  if (IsGemma3nTemplate(jinja)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      where,
      ": the chat template is not Gemma 3n's, and no other is known here. "
      "--chat-template=gemma3n renders conversations with Gemma 3n's all the "
      "same"));
}

}  // namespace

bool IsGemma3nTemplate(absl::string_view jinja) {
  static const std::string* const kKnown =
      new std::string(Canonical(kGemma3nTemplate));
  return Canonical(jinja) == *kKnown;
}

absl::Status CheckChatTemplate(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/", kChatTemplateFile);
  absl::StatusOr<std::string> jinja = ReadFile(path, kMaxFileBytes);
  if (jinja.ok()) return CheckText(path, *jinja);
  if (!absl::IsNotFound(jinja.status())) return jinja.status();
  for (const char* name :
       {kChatTemplateJsonFile, kTokenizerConfigFile, kProcessorConfigFile}) {
    absl::StatusOr<std::optional<std::string>> found =
        TemplateInJson(folder, name);
    if (!found.ok()) return found.status();
    if (found->has_value()) {
      return CheckText(absl::StrCat(folder, "/", name), **found);
    }
  }
  return absl::FailedPreconditionError(absl::StrCat(
      folder,
      ": no chat template (chat_template.jinja, or chat_template in "
      "tokenizer_config.json). --chat-template=gemma3n takes Gemma 3n's"));
}

}  // namespace lapidary
