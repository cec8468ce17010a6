#include "storage/utf8.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace lapidary {
namespace {

// Bounds of the second byte, and length, by lead byte (Unicode table 3-7);
// later bytes are 80..BF.
struct Lead {
  size_t bytes;
  uint8_t low, high;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

bool IsPythonSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 ||
         c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

}  // namespace

Utf8Step NextCodePoint(absl::string_view text) {
  const uint8_t first = static_cast<uint8_t>(text[0]);
  const Lead lead = LeadOf(first);
  if (lead.bytes == 0) return {1, 0xFFFD, false};
  if (lead.bytes == 1) return {1, first, true};
  char32_t code_point = first & (0xFF >> (lead.bytes + 1));
  for (size_t i = 1; i < lead.bytes; ++i) {
    if (i == text.size()) return {i, 0xFFFD, false};
    const uint8_t byte = static_cast<uint8_t>(text[i]);
    const uint8_t low = i == 1 ? lead.low : 0x80;
    const uint8_t high = i == 1 ? lead.high : 0xBF;
    if (byte < low || byte > high) return {i, 0xFFFD, false};
    code_point = (code_point << 6) | (byte & 0x3F);
  }
  return {lead.bytes, code_point, true};
}

size_t FirstInvalidByte(absl::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = NextCodePoint(text.substr(at));
    if (!step.valid) break;
    at += step.bytes;
  }
  return at;
}

bool IsValidUtf8(absl::string_view text) {
  return FirstInvalidByte(text) == text.size();
}

std::string ReplaceInvalidUtf8(absl::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = NextCodePoint(text);
    const absl::string_view part =
        step.valid ? text.substr(0, step.bytes) : kReplacementCharacter;
    valid.append(part.data(), part.size());
    text.remove_prefix(step.bytes);
  }
  return valid;
}

absl::string_view StripWhitespace(absl::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = NextCodePoint(text);
    if (!IsPythonSpace(step.code_point)) break;
    text.remove_prefix(step.bytes);
  }
  while (!text.empty()) {
    size_t start = text.size() - 1;
    while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) {
      --start;
    }
    const Utf8Step last = NextCodePoint(text.substr(start));
    if (!last.valid || !IsPythonSpace(last.code_point)) break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

std::string Quoted(absl::string_view text) {
  constexpr size_t kLongest = 80;
  const bool cut = text.size() > kLongest;
  return absl::StrCat(
      "\"", absl::Utf8SafeCEscape(ReplaceInvalidUtf8(text.substr(0, kLongest))),
      cut ? "…\"" : "\"");
}

}  // namespace lapidary
