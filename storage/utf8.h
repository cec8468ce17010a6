// UTF-8 as Python sees it, so that texts from files and from Hugging Face agree
// to the byte.
#ifndef LAPIDARY_STORAGE_UTF8_H_
#define LAPIDARY_STORAGE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace lapidary {

// U+FFFD, what stands for bytes that are no UTF-8.
inline constexpr absl::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// The first code point of a text, or what is wrong there.
struct Utf8Step {
  // Bytes of the code point; if not valid, of the longest prefix that could
  // have begun one, at least 1 ("maximal subpart", Unicode 3.9).
  size_t bytes = 0;
  char32_t code_point = 0xFFFD;
  bool valid = false;
};

// `text` must not be empty.
Utf8Step NextCodePoint(absl::string_view text);

// Where the first bytes lie that are no UTF-8; text.size() if all are.
size_t FirstInvalidByte(absl::string_view text);

// No surrogates, no overlong forms, nothing above U+10FFFF.
bool IsValidUtf8(absl::string_view text);

// bytes.decode("utf-8", errors="replace"): each maximal subpart becomes one
// U+FFFD.
std::string ReplaceInvalidUtf8(absl::string_view text);

// str.strip(): without white space (Unicode's, as str.isspace has it) at both
// ends. `text` is valid UTF-8.
absl::string_view StripWhitespace(absl::string_view text);

// `text` for an error message: in quotes, control characters and bytes that are
// no UTF-8 escaped, at most some 80 bytes of it.
std::string Quoted(absl::string_view text);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_UTF8_H_
