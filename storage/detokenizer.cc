#include "storage/detokenizer.h"

#include <cstddef>
#include <optional>

#include "absl/strings/str_replace.h"
#include "storage/utf8.h"

namespace lapidary {

Detokenizer::Detokenizer(const Tokenizer* tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer), skip_special_tokens_(skip_special_tokens) {}

std::string Detokenizer::Push(int32_t id) {
  // A token without text does not end a run: Hugging Face drops it first.
  if (tokenizer_->Piece(id).empty()) return "";
  if (skip_special_tokens_ && tokenizer_->IsSpecial(id)) return "";
  if (const std::optional<uint8_t> byte = tokenizer_->Byte(id)) {
    bytes_.push_back(static_cast<char>(*byte));
    return "";
  }
  return Flush() +
         absl::StrReplaceAll(tokenizer_->Piece(id), {{"\xE2\x96\x81", " "}});
}

std::string Detokenizer::Flush() {
  std::string text;
  if (IsValidUtf8(bytes_)) {
    text.swap(bytes_);
    return text;
  }
  for (size_t i = 0; i < bytes_.size(); ++i) {
    text.append(kReplacementCharacter.data(), kReplacementCharacter.size());
  }
  bytes_.clear();
  return text;
}

}  // namespace lapidary
