#include "storage/tokenizer.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "storage/added_tokens.h"
#include "storage/detokenizer.h"
#include "storage/file_io.h"
#include "storage/model_files.h"
#include "storage/sentencepiece_vocabulary.h"
#include "storage/utf8.h"

namespace lapidary {
namespace {

// The published tokenizer.model is 4.7 MB with 262144 pieces, and the model has
// 256 ids of soft tokens beyond them.
constexpr size_t kMaxModelBytes = size_t{64} << 20;
constexpr size_t kMaxPieces = 1 << 20;
constexpr int32_t kMaxIdsBeyondPieces = 1 << 16;

// How the vocabulary spells a space.
constexpr absl::string_view kSpacePiece = "\xE2\x96\x81";

absl::StatusOr<std::vector<VocabularyPiece>> ReadPieces(
    const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/", kTokenizerModelFile);
  absl::StatusOr<std::string> model = ReadFile(path, kMaxModelBytes);
  if (!model.ok()) return model.status();
  std::vector<VocabularyPiece> pieces;
  const std::string error = ReadVocabulary(*model, &pieces);
  if (!error.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a sentencepiece model: ", error));
  }
  if (pieces.size() > kMaxPieces) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " has ", pieces.size(), " pieces, more than ", kMaxPieces));
  }
  for (size_t id = 0; id < pieces.size(); ++id) {
    const size_t bytes = pieces[id].text.size();
    if (bytes > kMaxContentBytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": piece ", id, " has ", bytes, " bytes, more than ",
          kMaxContentBytes, "; is this a Gemma 3n model's file?"));
    }
    if (bytes > 0 && IsValidUtf8(pieces[id].text)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": piece ", id, " is not UTF-8: \"",
                     absl::CHexEscape(pieces[id].text), "\""));
  }
  return pieces;
}

// The byte of "<0x41>"; -1 for anything else.
int16_t ByteOf(absl::string_view piece) {
  uint32_t byte = 0;
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>' ||
      !absl::SimpleHexAtoi(piece.substr(3, 2), &byte) || byte > 255) {
    return -1;
  }
  return static_cast<int16_t>(byte);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(
    const std::string& folder) {
  absl::StatusOr<std::vector<VocabularyPiece>> pieces = ReadPieces(folder);
  if (!pieces.ok()) return pieces.status();
  const int32_t size = static_cast<int32_t>(pieces->size());
  absl::StatusOr<std::vector<AddedToken>> added =
      ReadAddedTokens(folder, size + kMaxIdsBeyondPieces);
  if (!added.ok()) return added.status();

  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer);
  tokenizer->vocabulary_size_ = size;
  tokenizer->TakePieces(*pieces);
  tokenizer->TakeAddedTokens(*added);

  std::vector<BytePairPiece> vocabulary(tokenizer->tokens_.size());
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    const Token& token = tokenizer->tokens_[id];
    vocabulary[id].text = token.piece;
    vocabulary[id].byte = token.byte;
    vocabulary[id].apart = !token.merged;
    if (id < pieces->size()) vocabulary[id].score = (*pieces)[id].score;
  }
  absl::StatusOr<BytePairMerger> merger = BytePairMerger::Make(vocabulary);
  if (!merger.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, "/tokenizer.model: ", merger.status().message()));
  }
  tokenizer->merger_ = *std::move(merger);
  const absl::Status named = tokenizer->FindNamedTokens();
  if (!named.ok()) return named;
  return tokenizer;
}

void Tokenizer::TakePieces(const std::vector<VocabularyPiece>& pieces) {
  tokens_.resize(pieces.size());
  for (size_t id = 0; id < pieces.size(); ++id) {
    Token& token = tokens_[id];
    token.piece = pieces[id].text;
    if (pieces[id].kind == VocabularyPiece::Kind::kByte) {
      token.byte = ByteOf(token.piece);
    }
    token.control = pieces[id].kind == VocabularyPiece::Kind::kControl ||
                    pieces[id].kind == VocabularyPiece::Kind::kUnknown ||
                    IsControlName(token.piece);
    token.merged = !token.control && token.byte < 0;
    ids_[token.piece] = static_cast<int32_t>(id);
  }
}

void Tokenizer::TakeAddedTokens(const std::vector<AddedToken>& added) {
  for (const AddedToken& token : added) {
    if (token.id >= id_limit()) tokens_.resize(token.id + 1);
    Token& here = tokens_[token.id];
    // Hugging Face reads tokenizer.json alone, so it says what an id is called:
    // Gemma 3's tokenizer.model calls 256000 by another name.
    if (here.piece != token.content) {
      const auto old = ids_.find(here.piece);
      if (old != ids_.end() && old->second == token.id) ids_.erase(old);
      here = Token();
      here.piece = token.content;
    }
    here.added = true;
    here.special = token.special;
    here.control =
        here.control || token.special || IsControlName(token.content);
    // Raw text that spells a raw token is never left to merging, unless by
    // spaces.
    here.merged =
        here.merged && !here.control &&
        (token.normalized || absl::StrContains(token.content, kSpacePiece));
    ids_[token.content] = token.id;

    const std::string content =
        token.normalized
            ? absl::StrReplaceAll(token.content, {{" ", kSpacePiece}})
            : token.content;
    auto& matchers = token.normalized ? normalized_ : raw_;
    matchers[static_cast<int>(SpecialTokens::kRecognise)].Add(content,
                                                              token.id);
    if (!here.control) {
      matchers[static_cast<int>(SpecialTokens::kPlainText)].Add(content,
                                                                token.id);
    }
  }
}

absl::Status Tokenizer::FindNamedTokens() {
  const struct {
    const char* name;
    int32_t* id;
  } named[] = {{"<bos>", &bos_},
               {"<eos>", &eos_},
               {"<pad>", &pad_},
               {"<unk>", &unk_},
               {"<start_of_turn>", &start_of_turn_},
               {"<end_of_turn>", &end_of_turn_}};
  for (const auto& [name, id] : named) {
    const std::optional<int32_t> found = TokenId(name);
    if (!found.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the tokenizer has no token ", name,
                       "; is this a Gemma 3n model's folder?"));
    }
    if (!tokens_[*found].added) {
      return absl::InvalidArgumentError(
          absl::StrCat(name,
                       " is not among the added tokens: no template "
                       "could write it"));
    }
    *id = *found;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(
    absl::string_view text, SpecialTokens special) const {
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the text has ", text.size(), " bytes, more than the ",
                     kMaxTextBytes, " that are tokenized at once"));
  }
  std::string replaced;
  if (!IsValidUtf8(text)) {
    replaced = ReplaceInvalidUtf8(text);
    text = replaced;
  }
  std::vector<int32_t> ids;
  raw_[static_cast<int>(special)].Split(
      text,
      [&](absl::string_view stretch) { EncodeStretch(stretch, special, &ids); },
      [&](int32_t id) { ids.push_back(id); });
  return ids;
}

void Tokenizer::EncodeStretch(absl::string_view text, SpecialTokens special,
                              std::vector<int32_t>* ids) const {
  const std::string word = absl::StrReplaceAll(text, {{" ", kSpacePiece}});
  normalized_[static_cast<int>(special)].Split(
      word, [&](absl::string_view part) { merger_.Split(part, ids); },
      [&](int32_t id) { ids->push_back(id); });
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids,
                              bool skip_special_tokens) const {
  Detokenizer detokenizer(this, skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.Push(id);
  return text + detokenizer.Flush();
}

std::optional<int32_t> Tokenizer::TokenId(absl::string_view piece) const {
  const auto found = ids_.find(piece);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const Tokenizer::Token& Tokenizer::TokenOf(int32_t id) const {
  static const Token* const kNothing = new Token;
  return id >= 0 && id < id_limit() ? tokens_[id] : *kNothing;
}

const std::string& Tokenizer::Piece(int32_t id) const {
  return TokenOf(id).piece;
}

std::optional<uint8_t> Tokenizer::Byte(int32_t id) const {
  const int16_t byte = TokenOf(id).byte;
  if (byte < 0) return std::nullopt;
  return static_cast<uint8_t>(byte);
}

bool Tokenizer::IsSpecial(int32_t id) const { return TokenOf(id).special; }

bool Tokenizer::IsControl(int32_t id) const { return TokenOf(id).control; }

}  // namespace lapidary
