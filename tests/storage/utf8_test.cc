#include "storage/utf8.h"

#include <string>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

// U+FFFD, `count` times.
std::string Replaced(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "\xEF\xBF\xBD";
  return text;
}

// What CPython 3.11 makes of bytes.decode("utf-8", errors="replace").
TEST(Utf8, InvalidBytes_BecomeWhatPythonMakesOfThem) {
  const struct {
    std::string bytes, text;
  } cases[] = {
      {"a\xFF", "a" + Replaced(1)},
      {"\x80\x80", Replaced(2)},
      {"\xC0\xAF", Replaced(2)},
      {"\xC2", Replaced(1)},
      {"\xE2\x82", Replaced(1)},
      {"\xE2\x82"
       "A",
       Replaced(1) + "A"},
      {"\xED\xA0\x80", Replaced(3)},
      {"\xF0\x9F\x98", Replaced(1)},
      {"\xF0\x9F\x98\xF0\x9F\x98\x80", Replaced(1) + "\xF0\x9F\x98\x80"},
      {"\xF4\x90\x80\x80", Replaced(4)},
      {"\xF8\x88\x80\x80\x80", Replaced(5)},
      {"\xE0\x80\x80", Replaced(3)},
      {"\xF0\x80\x80\x80", Replaced(4)},
      {"\xF1\x80\xC2\x80", Replaced(1) + "\xC2\x80"},
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
       "A",
       Replaced(4) + "A"},
      {std::string("\0b", 2), std::string("\0b", 2)},
      {"\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF",
       "\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF"},
  };
  for (const auto& [bytes, text] : cases) {
    SCOPED_TRACE(testing::PrintToString(bytes));
    EXPECT_EQ(ReplaceInvalidUtf8(bytes), text);
    EXPECT_EQ(IsValidUtf8(bytes), bytes == text);
    EXPECT_TRUE(IsValidUtf8(text));
  }
}

// Every code point: encoded, it is valid and read back whole.
TEST(Utf8, EveryCodePoint_IsReadBack) {
  const auto encode = [](char32_t c) {
    const auto tail = [c](int shift) {
      return static_cast<char>(0x80 | ((c >> shift) & 0x3F));
    };
    std::string text;
    if (c < 0x80) {
      text = {static_cast<char>(c)};
    } else if (c < 0x800) {
      text = {static_cast<char>(0xC0 | (c >> 6)), tail(0)};
    } else if (c < 0x10000) {
      text = {static_cast<char>(0xE0 | (c >> 12)), tail(6), tail(0)};
    } else {
      text = {static_cast<char>(0xF0 | (c >> 18)), tail(12), tail(6), tail(0)};
    }
    return text;
  };
  for (char32_t c = 0; c < 0x120000; ++c) {
    const std::string text = encode(c);
    const Utf8Step step = NextCodePoint(text);
    const bool valid = c < 0x110000 && (c < 0xD800 || c > 0xDFFF);
    ASSERT_EQ(step.valid, valid) << std::hex << static_cast<uint32_t>(c);
    if (!valid) continue;
    ASSERT_EQ(step.code_point, c);
    ASSERT_EQ(step.bytes, text.size());
  }
}

// UnicodeDecodeError.start of CPython 3.11.
TEST(Utf8, FirstInvalidByte_IsWhereTheBadSequenceBegins) {
  EXPECT_EQ(FirstInvalidByte(""), 0u);
  EXPECT_EQ(FirstInvalidByte("a\xC3\xA9"), 3u);
  EXPECT_EQ(FirstInvalidByte("\xFF"), 0u);
  EXPECT_EQ(FirstInvalidByte("a\xC3\xA9\xE2\x82z"), 3u);
  EXPECT_EQ(FirstInvalidByte("ab\xED\xA0\x80"), 2u);
}

// str.strip() of CPython 3.11.
TEST(Utf8, StripWhitespace_TakesWhatPythonTakes) {
  EXPECT_EQ(StripWhitespace(""), "");
  EXPECT_EQ(StripWhitespace(" \t\r\n\v\f\x1C\x1D\x1E\x1F "), "");
  EXPECT_EQ(StripWhitespace("\xC2\x85 a b\xC2\xA0\xE1\x9A\x80"), "a b");
  EXPECT_EQ(StripWhitespace("\xE2\x80\x80\xE2\x80\x8A\xE2\x80\xA8\xE2\x80\xA9x"
                            "\xE2\x80\xAF\xE2\x81\x9F\xE3\x80\x80"),
            "x");
  // Zero-width space, word joiner and BOM stay.
  for (const char* kept : {"\xE2\x80\x8B", "\xE2\x81\xA0", "\xEF\xBB\xBF"}) {
    EXPECT_EQ(StripWhitespace(kept), kept);
  }
}

TEST(Quoted, IsOneBoundedLineWithoutControlCharacters) {
  EXPECT_EQ(Quoted("кошка"), "\"кошка\"");
  EXPECT_EQ(Quoted("ev\x1b[31m\n\"il"), "\"ev\\033[31m\\n\\\"il\"");
  EXPECT_LT(Quoted(std::string(100000, 'm')).size(), 100);
  // Cut within a code point: still UTF-8.
  EXPECT_EQ(FirstInvalidByte(Quoted("m" + std::string(40, '\xD0'))),
            Quoted("m" + std::string(40, '\xD0')).size());
}

}  // namespace
}  // namespace lapidary
