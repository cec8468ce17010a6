#include "storage/tokenizer_check.h"

#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/file_io.h"
#include "storage/json.h"

namespace lapidary {
namespace {

constexpr size_t kMaxTokenizerJsonBytes = size_t{256} << 20;

absl::Status Differs(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, " and tokenizer.model are not one tokenizer: ", what));
}

// Both parts of a merge, written ["a", "b"] or, by older versions, "a b".
bool ReadMerge(const Json& merge, std::string* left, std::string* right) {
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
      merge[1].is_string()) {
    *left = merge[0].get<std::string>();
    *right = merge[1].get<std::string>();
    return true;
  }
  if (!merge.is_string()) return false;
  const std::string text = merge.get<std::string>();
  const size_t space = text.find(' ');
  if (space == std::string::npos) return false;
  *left = text.substr(0, space);
  *right = text.substr(space + 1);
  return true;
}

absl::Status CheckVocabulary(const Tokenizer& tokenizer, const Json& vocabulary,
                             const std::string& path) {
  int32_t found = 0;
  for (const auto& [piece, id] : vocabulary.items()) {
    if (!id.is_number_integer() || id < 0 || id >= tokenizer.id_limit()) {
      return Differs(path, absl::StrCat("the id of \"", absl::CEscape(piece),
                                        "\" is ", JsonForMessage(id)));
    }
    const int32_t number = id.get<int32_t>();
    // Hugging Face's converter names the byte 9 by the character.
    const bool tab = piece == "\t" && tokenizer.Byte(number) == 9;
    if (tokenizer.Piece(number) != piece && !tab) {
      return Differs(path, absl::StrCat("id ", number, " is \"",
                                        absl::CEscape(piece), "\" there, \"",
                                        absl::CEscape(tokenizer.Piece(number)),
                                        "\" here"));
    }
    found += number < tokenizer.vocabulary_size() ? 1 : 0;
  }
  if (found == tokenizer.vocabulary_size()) return absl::OkStatus();
  return Differs(path, absl::StrCat("its vocabulary has ", found, " of the ",
                                    tokenizer.vocabulary_size(), " pieces"));
}

absl::Status CheckMerges(const Tokenizer& tokenizer, const Json& merges,
                         const std::string& path) {
  int32_t last = -1;
  size_t found = 0;
  for (size_t i = 0; i < merges.size(); ++i) {
    std::string left, right;
    if (!ReadMerge(merges[i], &left, &right)) {
      return Differs(
          path, absl::StrCat("merge ", i, " is ", JsonForMessage(merges[i])));
    }
    const std::optional<int32_t> a = tokenizer.TokenId(left),
                                 b = tokenizer.TokenId(right),
                                 whole = tokenizer.TokenId(left + right);
    if (!a.has_value() || !b.has_value() || !whole.has_value()) {
      return Differs(path, absl::StrCat("merge ", i, " is of no pieces: ",
                                        JsonForMessage(merges[i])));
    }
    // Converters differ in whether they list merges that cannot happen.
    if (!tokenizer.IsMerged(*a) || !tokenizer.IsMerged(*b) ||
        !tokenizer.IsMerged(*whole)) {
      continue;
    }
    const BytePairMerger::Merge* merge = tokenizer.merger().Find(*a, *b);
    if (merge == nullptr || merge->rank <= last || merge->id != *whole) {
      return Differs(path, absl::StrCat("merge ", i, " has another rank: ",
                                        JsonForMessage(merges[i])));
    }
    last = merge->rank;
    ++found;
  }
  if (found == tokenizer.merger().merges()) return absl::OkStatus();
  return Differs(path, absl::StrCat("it has ", found, " merges, not ",
                                    tokenizer.merger().merges()));
}

}  // namespace

absl::Status CheckTokenizerJson(const Tokenizer& tokenizer,
                                const std::string& path) {
  absl::StatusOr<std::string> text = ReadFile(path, kMaxTokenizerJsonBytes);
  if (!text.ok()) return text.status();
  const absl::StatusOr<Json> json = ParseJson(*text, path);
  if (!json.ok()) return json.status();
  const Json* model = JsonFields(*json, path).Find("model");
  const Json* vocabulary = nullptr;
  const Json* merges = nullptr;
  if (model != nullptr && model->is_object()) {
    vocabulary = JsonFields(*model, path).Find("vocab");
    merges = JsonFields(*model, path).Find("merges");
  }
  if (vocabulary == nullptr || !vocabulary->is_object() || merges == nullptr ||
      !merges->is_array()) {
    return Differs(path, "it has no byte-pair model");
  }
  const absl::Status pieces = CheckVocabulary(tokenizer, *vocabulary, path);
  if (!pieces.ok()) return pieces;
  return CheckMerges(tokenizer, *merges, path);
}

}  // namespace lapidary
