#include "storage/detokenizer.h"

#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/utf8.h"
#include "tests/support/nano_tokenizer.h"

namespace lapidary {
namespace {

constexpr int32_t kByte0 = 113;  // <0x00> in the bundled model

std::vector<std::string> Deltas(const std::vector<int32_t>& ids, bool skip) {
  Detokenizer detokenizer(&NanoTokenizer(), skip);
  std::vector<std::string> deltas;
  for (const int32_t id : ids) deltas.push_back(detokenizer.Push(id));
  deltas.push_back(detokenizer.Flush());
  return deltas;
}

using Texts = std::vector<std::string>;

TEST(Detokenizer, CodePointInBytes_IsNotSplit) {
  // U+1F600, then a letter ("a" is 2920 in the bundled model).
  EXPECT_EQ(
      Deltas({kByte0 + 0xF0, kByte0 + 0x9F, kByte0 + 0x98, kByte0 + 0x80, 2920},
             true),
      (Texts{"", "", "", "",
             "\xF0\x9F\x98\x80"
             "a",
             ""}));
  // At the end of an answer.
  EXPECT_EQ(Deltas({2920, kByte0 + 0xC3, kByte0 + 0xA9}, true),
            (Texts{"a", "", "", "\xC3\xA9"}));
}

TEST(Detokenizer, RunThatIsNotUtf8_IsOneReplacementForEachByte) {
  EXPECT_EQ(Deltas({kByte0 + 0xC3, kByte0 + 0xA9, kByte0 + 0xFF, 2920}, true),
            (Texts{"", "", "",
                   "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
                   "a",
                   ""}));
  EXPECT_EQ(Deltas({kByte0 + 0xE2, kByte0 + 0x82}, true),
            (Texts{"", "", "\xEF\xBF\xBD\xEF\xBF\xBD"}));
}

TEST(Detokenizer, SkippedToken_DoesNotEndARun) {
  EXPECT_EQ(Deltas({kByte0 + 0xC3, 106, kByte0 + 0xA9}, true),
            (Texts{"", "", "", "\xC3\xA9"}));
  EXPECT_EQ(Deltas({kByte0 + 0xC3, 106, kByte0 + 0xA9}, false),
            (Texts{"", "\xEF\xBF\xBD<end_of_turn>", "", "\xEF\xBF\xBD"}));
  // Nor does an id without a piece.
  EXPECT_EQ(Deltas({kByte0 + 0xC3, 9999, kByte0 + 0xA9}, false),
            (Texts{"", "", "", "\xC3\xA9"}));
}

TEST(Detokenizer, AfterFlush_ANewSequenceBegins) {
  Detokenizer detokenizer(&NanoTokenizer(), true);
  detokenizer.Push(kByte0 + 0xC3);
  EXPECT_EQ(detokenizer.Flush(), "\xEF\xBF\xBD");
  detokenizer.Push(kByte0 + 'x');
  EXPECT_EQ(detokenizer.Flush(), "x");
}

TEST(Detokenizer, AnyIds_DeltasAreUtf8AndConcatenateToDecode) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::vector<int32_t> ids;
    for (int i = 0; i < 40; ++i) {
      const uint32_t kind = random() % 8;
      if (kind < 5) {
        ids.push_back(kByte0 + static_cast<int32_t>(random() % 256));
      } else if (kind < 7) {
        ids.push_back(static_cast<int32_t>(random() % 3200));
      } else {
        ids.push_back(static_cast<int32_t>(random()));
      }
    }
    for (const bool skip : {false, true}) {
      std::string text;
      for (const std::string& delta : Deltas(ids, skip)) {
        ASSERT_TRUE(IsValidUtf8(delta));
        text += delta;
      }
      ASSERT_EQ(text, NanoTokenizer().Decode(ids, skip));
    }
  }
}

}  // namespace
}  // namespace lapidary
