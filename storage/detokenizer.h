// Text of a growing sequence of tokens, piece by piece.
//
//   Detokenizer detokenizer(tokenizer, /*skip_special_tokens=*/true);
//   for (id : ids) Send(detokenizer.Push(id));
//   Send(detokenizer.Flush());
//
// Every delta is valid UTF-8, and all of them together are exactly
// Tokenizer::Decode of all the ids. Byte tokens are therefore held back until
// another token or Flush ends their run: only then is it known whether the run
// is UTF-8 or one U+FFFD for each byte.
#ifndef LAPIDARY_STORAGE_DETOKENIZER_H_
#define LAPIDARY_STORAGE_DETOKENIZER_H_

#include <cstdint>
#include <string>

#include "storage/tokenizer.h"

namespace lapidary {

class Detokenizer {
 public:
  // `tokenizer` must outlive this. One sequence, one thread at a time.
  Detokenizer(const Tokenizer* tokenizer, bool skip_special_tokens);

  // Takes the next token, any id, and returns the text that is now certain;
  // often one word, empty for a byte or a skipped token.
  std::string Push(int32_t id);

  // Returns what was held back. After it a new sequence may begin.
  std::string Flush();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::string bytes_;  // of the run of byte tokens that has not ended
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_DETOKENIZER_H_
