#include "storage/added_tokens.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/file_io.h"
#include "storage/json.h"
#include "storage/model_files.h"

namespace lapidary {
namespace {

// The published tokenizer.json is 33 MB.
constexpr size_t kMaxJsonBytes = size_t{256} << 20;
constexpr size_t kMaxAddedTokens = 1 << 20;

// Picks `added_tokens` out of tokenizer.json and stops there: what follows, the
// vocabulary and its merges, is thousands of times as large.
class AddedTokensSax : public nlohmann::json_sax<Json> {
 public:
  // True once the whole array has been read.
  bool found() const { return found_; }
  // What is wrong with the text; "" if nothing was.
  const std::string& error() const { return error_; }
  Json& tokens() { return tokens_; }

  bool null() override { return Value(nullptr); }
  bool boolean(bool value) override { return Value(value); }
  bool number_integer(number_integer_t value) override { return Value(value); }
  bool number_unsigned(number_unsigned_t value) override {
    return Value(value);
  }
  bool number_float(number_float_t value, const string_t&) override {
    return Value(value);
  }
  bool string(string_t& value) override { return Value(value); }
  bool binary(binary_t&) override { return Refuse("holds binary data"); }

  bool start_object(size_t) override {
    if (++depth_ > kMaxJsonDepth) return Refuse("is nested too deeply");
    if (!inside_) return true;
    if (depth_ != kTokenDepth) return Refuse("added_tokens: not plain objects");
    if (tokens_.size() == kMaxAddedTokens) {
      return Refuse("added_tokens: too many");
    }
    tokens_.push_back(Json::object());
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(size_t) override {
    if (++depth_ > kMaxJsonDepth) return Refuse("is nested too deeply");
    if (inside_) return Refuse("added_tokens: not plain objects");
    inside_ = depth_ == kArrayDepth && key_ == "added_tokens";
    return true;
  }
  bool end_array() override {
    --depth_;
    found_ = inside_;
    return !found_;
  }
  bool key(string_t& name) override {
    if (inside_ || depth_ == 1) key_ = name;
    return true;
  }
  bool parse_error(size_t, const std::string&,
                   const nlohmann::detail::exception& error) override {
    error_ = error.what();
    return false;
  }

 private:
  static constexpr int kArrayDepth = 2, kTokenDepth = 3;

  template <typename T>
  bool Value(const T& value) {
    if (!inside_) {
      return depth_ > 1 || key_ != "added_tokens" ||
             Refuse("added_tokens is not an array");
    }
    if (depth_ != kTokenDepth) return Refuse("added_tokens: not plain objects");
    tokens_.back()[key_] = value;
    return true;
  }
  bool Refuse(const char* why) {
    error_ = why;
    return false;
  }

  int depth_ = 0;
  bool inside_ = false, found_ = false;
  std::string key_, error_;
  Json tokens_ = Json::array();
};

absl::StatusOr<AddedToken> ReadToken(const Json& object,
                                     const std::string& path, int64_t id,
                                     int32_t id_limit) {
  if (!object.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not an object"));
  }
  JsonFields fields(object, path);
  AddedToken token;
  token.id = static_cast<int32_t>(fields.Int("id", id, 0, id_limit - 1));
  if (id < 0 && !fields.Has("id")) fields.Fail("id", "a token's id");
  token.content = fields.String("content", "");
  if (token.content.empty() || token.content.size() > kMaxContentBytes) {
    fields.Fail("content", absl::StrCat("1 to ", kMaxContentBytes, " bytes"));
  }
  token.special = fields.Bool("special", false);
  token.normalized = fields.Bool("normalized", !token.special);
  for (const char* option : {"single_word", "lstrip", "rstrip"}) {
    if (fields.Bool(option, false)) {
      fields.Fail(option, "false, as Gemma's tokenizer has it");
    }
  }
  if (!fields.ok()) return fields.status();
  return token;
}

// {"id": {…}, …}: `added_tokens_decoder` of tokenizer_config.json.
absl::Status ReadDecoder(const std::string& folder, int32_t id_limit,
                         std::vector<AddedToken>* tokens) {
  const std::string name = kTokenizerConfigFile;
  absl::StatusOr<std::string> text =
      ReadFile(absl::StrCat(folder, "/", name), kMaxJsonBytes);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  absl::StatusOr<Json> json = ParseJson(*text, name);
  if (!json.ok()) return json.status();
  const Json* decoder = JsonFields(*json, name).Find("added_tokens_decoder");
  if (decoder == nullptr) return absl::OkStatus();
  const std::string path = absl::StrCat(name, ": added_tokens_decoder");
  if (!decoder->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not an object"));
  }
  for (const auto& [key, value] : decoder->items()) {
    int32_t id = -1;
    if (!absl::SimpleAtoi(key, &id) || id < 0 || id >= id_limit) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": \"", key, "\" is no id below ", id_limit));
    }
    absl::StatusOr<AddedToken> token =
        ReadToken(value, absl::StrCat(path, ".", key), id, id_limit);
    if (!token.ok()) return token.status();
    tokens->push_back(*std::move(token));
  }
  return absl::OkStatus();
}

// {"content": id, …}: added_tokens.json, which adds to the decoder.
absl::Status ReadAddedTokensJson(const std::string& folder, int32_t id_limit,
                                 std::vector<AddedToken>* tokens) {
  const std::string name = kAddedTokensFile;
  absl::StatusOr<std::string> text =
      ReadFile(absl::StrCat(folder, "/", name), kMaxJsonBytes);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  absl::StatusOr<Json> json = ParseJson(*text, name);
  if (!json.ok()) return json.status();
  std::set<std::string> known;
  for (const AddedToken& token : *tokens) known.insert(token.content);
  JsonFields fields(*json, name);
  for (const auto& [content, value] : json->items()) {
    if (known.count(content) > 0) continue;
    AddedToken token;
    token.id = static_cast<int32_t>(fields.Int(content, 0, 0, id_limit - 1));
    token.content = content;
    if (content.empty() || content.size() > kMaxContentBytes) {
      fields.Fail(content, "of a token with a name");
    }
    tokens->push_back(std::move(token));
  }
  return fields.status();
}

absl::Status ReadTokenizerJson(const std::string& text, int32_t id_limit,
                               std::vector<AddedToken>* tokens) {
  const std::string name = kTokenizerJsonFile;
  AddedTokensSax sax;
  Json::sax_parse(text, &sax);
  if (!sax.found()) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": ",
        sax.error().empty() ? "has no array added_tokens" : sax.error()));
  }
  for (size_t i = 0; i < sax.tokens().size(); ++i) {
    absl::StatusOr<AddedToken> token =
        ReadToken(sax.tokens()[i],
                  absl::StrCat(name, ": added_tokens[", i, "]"), -1, id_limit);
    if (!token.ok()) return token.status();
    tokens->push_back(*std::move(token));
  }
  return absl::OkStatus();
}

// Adds the names in one value of tokenizer_config.json: "name",
// {"content": "name", …}, or a list or object of such.
void AddNames(const Json& value, bool nested, std::set<std::string>* names) {
  if (value.is_string()) {
    names->insert(value.get<std::string>());
  } else if (value.is_object() && value.contains("content")) {
    if (value["content"].is_string()) {
      names->insert(value["content"].get<std::string>());
    }
  } else if (value.is_structured() && !nested) {
    for (const Json& item : value) AddNames(item, true, names);
  }
}

// Marks as special the tokens that tokenizer_config.json gives a role
// (`mask_token`, `image_token`, …), as AutoTokenizer does while it loads.
absl::Status MarkNamedTokens(const std::string& folder,
                             std::vector<AddedToken>* tokens) {
  const std::string name = kTokenizerConfigFile;
  absl::StatusOr<std::string> text =
      ReadFile(absl::StrCat(folder, "/", name), kMaxJsonBytes);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  absl::StatusOr<Json> json = ParseJson(*text, name);
  if (!json.ok()) return json.status();
  if (!json->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is not an object"));
  }
  std::set<std::string> names;
  for (const auto& [key, value] : json->items()) {
    if (absl::EndsWith(key, "_token") || key == "extra_special_tokens" ||
        key == "additional_special_tokens") {
      AddNames(value, false, &names);
    }
  }
  for (AddedToken& token : *tokens) {
    if (names.count(token.content) > 0) token.special = true;
  }
  return absl::OkStatus();
}

absl::Status CheckUnique(const std::vector<AddedToken>& sorted) {
  std::map<absl::string_view, int32_t> ids;
  for (size_t i = 0; i < sorted.size(); ++i) {
    const auto [other, is_new] = ids.emplace(sorted[i].content, sorted[i].id);
    if (!is_new) {
      return absl::InvalidArgumentError(
          absl::StrCat("added token \"", sorted[i].content, "\" has two ids, ",
                       other->second, " and ", sorted[i].id));
    }
    if (i > 0 && sorted[i].id == sorted[i - 1].id) {
      return absl::InvalidArgumentError(absl::StrCat(
          "id ", sorted[i].id, " is of two added tokens, \"",
          sorted[i - 1].content, "\" and \"", sorted[i].content, "\""));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(
    const std::string& folder, int32_t id_limit) {
  std::vector<AddedToken> tokens;
  absl::StatusOr<std::string> text =
      ReadFile(absl::StrCat(folder, "/", kTokenizerJsonFile), kMaxJsonBytes);
  if (text.ok()) {
    const absl::Status status = ReadTokenizerJson(*text, id_limit, &tokens);
    if (!status.ok()) return status;
  } else if (absl::IsNotFound(text.status())) {
    absl::Status status = ReadDecoder(folder, id_limit, &tokens);
    if (status.ok()) status = ReadAddedTokensJson(folder, id_limit, &tokens);
    if (!status.ok()) return status;
    if (tokens.empty()) {
      return absl::NotFoundError(absl::StrCat(
          folder,
          " has no tokenizer.json, and neither tokenizer_config.json nor "
          "added_tokens.json lists the added tokens; one of them is needed "
          "beside tokenizer.model"));
    }
  } else {
    return text.status();
  }
  const absl::Status named = MarkNamedTokens(folder, &tokens);
  if (!named.ok()) return named;
  std::sort(
      tokens.begin(), tokens.end(),
      [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  const absl::Status unique = CheckUnique(tokens);
  if (!unique.ok()) return unique;
  return tokens;
}

bool IsControlName(absl::string_view name) {
  static const auto* const kNames =
      new std::set<absl::string_view>{"<pad>",
                                      "<eos>",
                                      "<bos>",
                                      "<unk>",
                                      "<mask>",
                                      "[multimodal]",
                                      "<start_of_turn>",
                                      "<end_of_turn>",
                                      "<start_of_image>",
                                      "<end_of_image>",
                                      "<start_of_audio>",
                                      "<end_of_audio>",
                                      "<image_soft_token>",
                                      "<audio_soft_token>"};
  if (kNames->count(name) > 0) return true;
  if (!absl::ConsumePrefix(&name, "<unused") ||
      !absl::ConsumeSuffix(&name, ">") || name.empty()) {
    return false;
  }
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return c >= '0' && c <= '9'; });
}

int32_t AddedTokenMatcher::Next(int32_t node, uint8_t byte) const {
  const auto edge =
      edges_.find(uint64_t{static_cast<uint32_t>(node)} << 8 | byte);
  return edge == edges_.end() ? kNone : edge->second;
}

void AddedTokenMatcher::Add(absl::string_view content, int32_t id) {
  const auto new_node = [this] {
    ends_.push_back(kNone);
    return static_cast<int32_t>(ends_.size() - 1);
  };
  int32_t& first = first_[static_cast<uint8_t>(content[0])];
  if (first == kNone) first = new_node();
  int32_t node = first;
  for (const char c : content.substr(1)) {
    const uint8_t byte = static_cast<uint8_t>(c);
    int32_t next = Next(node, byte);
    if (next == kNone) {
      next = new_node();
      edges_[uint64_t{static_cast<uint32_t>(node)} << 8 | byte] = next;
    }
    node = next;
  }
  ends_[node] = id;
}

AddedTokenMatcher::Match AddedTokenMatcher::LongestAt(
    absl::string_view text) const {
  Match longest;
  int32_t node = first_[static_cast<uint8_t>(text[0])];
  for (size_t bytes = 1; node != kNone; ++bytes) {
    if (ends_[node] != kNone) longest = {bytes, ends_[node]};
    if (bytes == text.size()) break;
    node = Next(node, static_cast<uint8_t>(text[bytes]));
  }
  return longest;
}

void AddedTokenMatcher::Split(
    absl::string_view text,
    const std::function<void(absl::string_view)>& between,
    const std::function<void(int32_t)>& token) const {
  size_t start = 0;  // of the stretch that no token has ended yet
  for (size_t at = 0; at < text.size();) {
    const Match match = LongestAt(text.substr(at));
    if (match.bytes == 0) {
      ++at;
      continue;
    }
    if (at > start) between(text.substr(start, at - start));
    token(match.id);
    at += match.bytes;
    start = at;
  }
  if (start < text.size()) between(text.substr(start));
}

}  // namespace lapidary
