// Gemma's tokenizer: text to token ids and back, with Hugging Face's ids.
//
//   StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(folder);
//   StatusOr<std::vector<int32_t>> ids =
//       (*tokenizer)->Encode("Hello", SpecialTokens::kPlainText);
//   std::string text = (*tokenizer)->Decode(*ids, true);
//
// The pieces and their scores come from tokenizer.model, read by the
// sentencepiece library; the tokens that are matched before any merging come
// from tokenizer.json. The merging is ours: the library cannot be told which
// pieces to match inside a text, and where its ids are not Hugging Face's
// (<bos> as text, U+2581 beside spaces), Hugging Face's are what is promised.
//
// How text becomes ids (Hugging Face's `tokenizers`, BPE with byte_fallback):
//   1. invalid UTF-8 becomes U+FFFD, as Python's errors="replace" does;
//   2. added tokens are found, leftmost first and of those the longest;
//   3. each stretch between them is one word: spaces become U+2581, a code
//      point without a piece becomes its bytes, and the adjacent pair of the
//      best rank merges until none is left.
// Linear in the text but for a logarithm, whatever the text holds.
//
// Immutable once loaded: any number of threads may use one.
#ifndef LAPIDARY_STORAGE_TOKENIZER_H_
#define LAPIDARY_STORAGE_TOKENIZER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/added_tokens.h"
#include "storage/bpe.h"
#include "storage/sentencepiece_vocabulary.h"

namespace lapidary {

// What the names of control tokens (`<start_of_turn>`, `<bos>`, `<unused7>`,
// `<image_soft_token>`, …) mean inside a text.
enum class SpecialTokens {
  // Characters like any others: no text can produce a control token. For
  // whatever a user wrote. Runs of newlines, HTML tags and other added tokens
  // that control nothing are matched all the same.
  kPlainText,
  // The tokens, as Hugging Face's tokenizer does by default. For rendered
  // templates whose author is trusted.
  kRecognise,
};

class Tokenizer {
 public:
  // Longest text that Encode takes, in bytes (32K tokens are some 150 kB of
  // English).
  static constexpr size_t kMaxTextBytes = size_t{4} << 20;

  // Reads tokenizer.model and the added tokens of tokenizer.json; without
  // tokenizer.json, those of tokenizer_config.json (`added_tokens_decoder`) and
  // added_tokens.json. `folder` is a Hugging Face model's or a packed one's:
  // the file names are the same.
  //
  // Errors: NOT_FOUND for a missing file; INVALID_ARGUMENT for one that cannot
  // be read or has what this tokenizer cannot do exactly, with the reason.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(
      const std::string& folder);

  // Ids of `text`, any bytes. Adds no <bos>.
  //
  // Errors: INVALID_ARGUMENT for a text longer than kMaxTextBytes.
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text,
                                              SpecialTokens special) const;

  // Text of `ids`, always valid UTF-8; `tokenizer.decode` of Hugging Face. A
  // run of byte tokens that together are not UTF-8 is one U+FFFD for each. An
  // id without a piece adds nothing. With `skip_special_tokens`, tokens with
  // IsSpecial add nothing either.
  std::string Decode(absl::Span<const int32_t> ids,
                     bool skip_special_tokens) const;

  // The id whose piece is exactly `piece`.
  std::optional<int32_t> TokenId(absl::string_view piece) const;
  // The piece as the vocabulary spells it: U+2581 for a space, "<0x41>" for a
  // byte. Empty for an id without a piece.
  const std::string& Piece(int32_t id) const;
  // The byte that `id` stands for, if it is a byte token.
  std::optional<uint8_t> Byte(int32_t id) const;
  // Hugging Face's `special`: what skip_special_tokens skips.
  bool IsSpecial(int32_t id) const;
  // A token that kPlainText never produces; every special one is.
  bool IsControl(int32_t id) const;

  int32_t bos_id() const { return bos_; }
  int32_t eos_id() const { return eos_; }
  int32_t pad_id() const { return pad_; }
  int32_t unk_id() const { return unk_; }
  int32_t start_of_turn_id() const { return start_of_turn_; }
  int32_t end_of_turn_id() const { return end_of_turn_; }

  // Pieces in tokenizer.model. Added tokens may have ids beyond it (the soft
  // tokens of pictures and sound): all ids are below id_limit().
  int32_t vocabulary_size() const { return vocabulary_size_; }
  int32_t id_limit() const { return static_cast<int32_t>(tokens_.size()); }

  // The merges, and whether any can make or take a token, for
  // CheckTokenizerJson: none does a control token, nor one that is always found
  // before merging.
  const BytePairMerger& merger() const { return merger_; }
  bool IsMerged(int32_t id) const { return TokenOf(id).merged; }

 private:
  struct Token {
    std::string piece;
    int16_t byte = -1;  // of a byte token
    bool added = false;
    bool special = false;
    bool control = false;
    bool merged = false;  // by merging made or taken
  };

  Tokenizer() = default;
  void TakePieces(const std::vector<VocabularyPiece>& pieces);
  void TakeAddedTokens(const std::vector<AddedToken>& added);
  absl::Status FindNamedTokens();
  const Token& TokenOf(int32_t id) const;
  void EncodeStretch(absl::string_view text, SpecialTokens special,
                     std::vector<int32_t>* ids) const;

  std::vector<Token> tokens_;  // by id
  absl::flat_hash_map<std::string, int32_t> ids_;
  BytePairMerger merger_;
  // [SpecialTokens]: raw text first, then text with spaces replaced.
  AddedTokenMatcher raw_[2];
  AddedTokenMatcher normalized_[2];
  int32_t vocabulary_size_ = 0;
  int32_t bos_ = 0, eos_ = 0, pad_ = 0, unk_ = 0;
  int32_t start_of_turn_ = 0, end_of_turn_ = 0;
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_TOKENIZER_H_
