// Ids and texts here are those of Hugging Face's tokenizers 0.23.3 on the
// bundled model's folder, unless a test says otherwise.
#include "storage/tokenizer.h"

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"
#include "storage/utf8.h"
#include "tests/support/nano_tokenizer.h"

namespace lapidary {
namespace {

using Ids = std::vector<int32_t>;

Ids Encode(absl::string_view text, SpecialTokens special) {
  absl::StatusOr<Ids> ids = NanoTokenizer().Encode(text, special);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return *std::move(ids);
}

TEST(Tokenizer, Encode_GivesHuggingFacesIds) {
  const struct {
    std::string text;
    Ids ids;
  } cases[] = {
      {"", {}},
      {"Hello", {2956, 652, 2927}},
      {"What is in the picture?", {384, 386, 379, 372, 432, 2937}},
      {" leading", {518, 508, 534}},
      {"a  b   c    d",
       {2920, 2918, 433, 2918, 2918, 388, 2918, 2918, 2918, 381}},
      {"one\ntwo\n\nthree\n\n\n\n\nsix",
       {944, 107, 2922, 1426, 108, 1580, 2322, 110, 107, 2923, 670}},
      {"\n\n\n\n\n\n\n\n\n", {110, 110, 107}},
      {"tab\tand\r\n", {580, 2933, 122, 506, 126, 107}},
      {"\xD0\xAD\xD1\x82\xD0\xBE \xD0\xBB\xD0\xBE\xD1\x88\xD0\xB0\xD0\xB4"
       "\xD1\x8C",
       {321, 286, 689, 1219}},
      {"\xE8\xBF\x99\xE6\x98\xAF\xE4\xB8\x80\xE5\x8C\xB9\xE9\xA9\xAC",
       {345, 304, 266, 343, 265, 288, 341, 297, 241, 342, 253, 298, 346, 282,
        285}},
      {"\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x9A\x80",
       {353, 272, 258, 282, 339, 241, 254, 353, 272, 267, 241}},
      {"\xE2\x96\x81\xE2\x96\x81x \xE2\x96\x81",
       {2918, 2918, 2980, 2918, 2918}},
      {"<0x41>", {173, 3024, 2980, 3045, 3032, 175}},
      {"3.14159", {3035, 2928, 3032, 3045, 3032, 3050, 3052}},
      {std::string("\0\1", 2), {113, 114}},
      {"\xEF\xBF\xBD", {352, 304, 302}},
      {"\xFF", {352, 304, 302}},
  };
  for (const auto& [text, ids] : cases) {
    SCOPED_TRACE(text);
    EXPECT_EQ(Encode(text, SpecialTokens::kRecognise), ids);
    EXPECT_EQ(Encode(text, SpecialTokens::kPlainText), ids);
  }
}

TEST(Tokenizer, Recognise_FindsControlTokensInText) {
  const auto encode = [](absl::string_view text) {
    return Encode(text, SpecialTokens::kRecognise);
  };
  EXPECT_EQ(encode("<bos>hi<eos>"), (Ids{2, 2921, 2924, 1}));
  EXPECT_EQ(encode("<start_of_turn>user\nhi<end_of_turn>\n"),
            (Ids{105, 482, 107, 2921, 2924, 106, 107}));
  EXPECT_EQ(encode("<unused3><mask>[multimodal]"), (Ids{9, 4, 5}));
  EXPECT_EQ(encode("<image_soft_token>"), (Ids{3073}));
}

TEST(Tokenizer, PlainText_NoTextBecomesAControlToken) {
  const Tokenizer& tokenizer = NanoTokenizer();
  int controls = 0;
  for (int32_t id = 0; id < tokenizer.id_limit(); ++id) {
    if (!tokenizer.IsControl(id)) continue;
    ++controls;
    const std::string text =
        absl::StrCat("say ", tokenizer.Piece(id), tokenizer.Piece(id), "\n!");
    SCOPED_TRACE(text);
    EXPECT_EQ(Encode(tokenizer.Piece(id), SpecialTokens::kRecognise),
              (Ids{id}));
    const Ids ids = Encode(text, SpecialTokens::kPlainText);
    for (const int32_t other : ids) EXPECT_FALSE(tokenizer.IsControl(other));
    EXPECT_EQ(tokenizer.Decode(ids, /*skip_special_tokens=*/true), text);
  }
  // pad, eos, bos, unk, mask, [multimodal], 99 unused, two of turns and six of
  // pictures and sound.
  EXPECT_EQ(controls, 4 + 2 + 99 + 2 + 6);
  // Newlines control nothing.
  EXPECT_FALSE(tokenizer.IsControl(108));
  EXPECT_EQ(Encode("\n\n", SpecialTokens::kPlainText), (Ids{108}));
}

TEST(Tokenizer, Decode_GivesHuggingFacesText) {
  const std::string r = "\xEF\xBF\xBD";  // U+FFFD
  const struct {
    Ids ids;
    std::string all, skipped;
  } cases[] = {
      {{}, "", ""},
      {{113, 367, 104}, r + r + "<unused98>", r + r + "<unused98>"},
      {{105, 843, 107}, "<start_of_turn>age\n", "age\n"},
      {{3073, 3072, 3000, 9999},
       "<image_soft_token><end_of_image>\xD1\x86",
       "\xD1\x86"},
      {{340, 209, 1, 272, 3073, 242},
       r + r + "<eos>" + r + "<image_soft_token>" + r,
       r + r + r + r},
      {{352, 304, 4, 302}, r + r + "<mask>" + r, r},
      {{-1, 3100, 1 << 30}, "", ""},
  };
  for (const auto& [ids, all, skipped] : cases) {
    SCOPED_TRACE(testing::PrintToString(ids));
    EXPECT_EQ(NanoTokenizer().Decode(ids, false), all);
    EXPECT_EQ(NanoTokenizer().Decode(ids, true), skipped);
  }
}

TEST(Tokenizer, AnyBytes_ComeBackAsTheirUtf8) {
  std::mt19937 random(11);
  const std::string alphabet = "<>_ \n\n\taeiou[bos]0123unused";
  for (int round = 0; round < 4000; ++round) {
    std::string text;
    for (int i = 0; i < 60; ++i) {
      switch (random() % 4) {
        case 0:
          text.push_back(static_cast<char>(random()));
          break;
        case 1:
          absl::StrAppend(&text, NanoTokenizer().Piece(random() % 3200));
          break;
        default:
          text.push_back(alphabet[random() % alphabet.size()]);
      }
    }
    // What Decode gives is the text with each U+2581 as a space.
    const std::string valid =
        absl::StrReplaceAll(ReplaceInvalidUtf8(text), {{"\xE2\x96\x81", " "}});
    for (const SpecialTokens special :
         {SpecialTokens::kPlainText, SpecialTokens::kRecognise}) {
      ASSERT_EQ(NanoTokenizer().Decode(Encode(text, special), false), valid);
    }
  }
}

// A stretch without added tokens is one word: merging must not be quadratic in
// it. Quadratic, this would run for hours.
TEST(Tokenizer, MegabyteInOneWord_IsTokenized) {
  for (const char* part : {"a", " ", "the horse ", "\xF0\x9F\x91\xA9", "<"}) {
    SCOPED_TRACE(part);
    std::string text;
    while (text.size() < 1000000) text += part;
    EXPECT_EQ(
        NanoTokenizer().Decode(Encode(text, SpecialTokens::kPlainText), false),
        text);
  }
}

TEST(Tokenizer, TextBeyondTheLimit_IsRefused) {
  const std::string text(Tokenizer::kMaxTextBytes + 1, '\n');
  const absl::StatusOr<Ids> ids =
      NanoTokenizer().Encode(text, SpecialTokens::kPlainText);
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Tokenizer, TokensAreFoundByNameAndId) {
  const Tokenizer& tokenizer = NanoTokenizer();
  EXPECT_EQ(tokenizer.bos_id(), 2);
  EXPECT_EQ(tokenizer.eos_id(), 1);
  EXPECT_EQ(tokenizer.pad_id(), 0);
  EXPECT_EQ(tokenizer.unk_id(), 3);
  EXPECT_EQ(tokenizer.start_of_turn_id(), 105);
  EXPECT_EQ(tokenizer.end_of_turn_id(), 106);
  EXPECT_EQ(tokenizer.vocabulary_size(), 3072);
  EXPECT_EQ(tokenizer.id_limit(), 3138);
  EXPECT_EQ(tokenizer.TokenId("<audio_soft_token>"), 3137);
  EXPECT_EQ(tokenizer.TokenId("<no such token>"), std::nullopt);
  EXPECT_EQ(tokenizer.TokenId(""), std::nullopt);
  EXPECT_EQ(tokenizer.Piece(107), "\n");
  EXPECT_EQ(tokenizer.Piece(3138), "");
  EXPECT_EQ(tokenizer.Piece(-1), "");
  EXPECT_EQ(tokenizer.Byte(113 + 0x41), 0x41);
  EXPECT_EQ(tokenizer.Byte(2956), std::nullopt);
}

}  // namespace
}  // namespace lapidary
