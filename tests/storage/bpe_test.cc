#include "storage/bpe.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

// 256 byte tokens, and texts with scores behind them.
std::vector<BytePairPiece> Pieces(
    const std::vector<std::pair<std::string, float>>& texts) {
  std::vector<BytePairPiece> pieces;
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", byte);
    pieces.push_back({name, 0, static_cast<int16_t>(byte), false});
  }
  for (const auto& [text, score] : texts) {
    pieces.push_back({text, score, -1, false});
  }
  return pieces;
}

std::vector<std::string> Split(const std::vector<BytePairPiece>& pieces,
                               const std::string& word) {
  const auto merger = BytePairMerger::Make(pieces);
  EXPECT_TRUE(merger.ok()) << merger.status();
  std::vector<int32_t> ids;
  merger->Split(word, &ids);
  std::vector<std::string> texts;
  for (const int32_t id : ids) texts.push_back(pieces[id].text);
  return texts;
}

using Texts = std::vector<std::string>;

TEST(BytePairMerger, CodePointWithoutPiece_BecomesItsBytes) {
  const auto pieces = Pieces({{"a", 0}, {"\xC3\xA9", -1}});
  EXPECT_EQ(Split(pieces, "a\xC3\xA9\xE2\x82\xAC"),
            (Texts{"a", "\xC3\xA9", "<0xE2>", "<0x82>", "<0xAC>"}));
  EXPECT_EQ(Split(pieces, ""), Texts{});
}

TEST(BytePairMerger, BestScoreMergesFirst_ThenLeftmost) {
  const auto pieces =
      Pieces({{"bc", -1}, {"ab", -2}, {"a", -9}, {"b", -9}, {"c", -9}});
  EXPECT_EQ(Split(pieces, "abc"), (Texts{"a", "bc"}));
  EXPECT_EQ(Split(pieces, "abab"), (Texts{"ab", "ab"}));
  EXPECT_EQ(Split(Pieces({{"aa", -1}, {"a", -9}}), "aaa"), (Texts{"aa", "a"}));
}

// (aa, a) ranks before (a, aa), although both make "aaa" and the ids speak for
// the other: the rule of generate_merges.
TEST(BytePairMerger, OnePieceTwoSplits_LongerLeftPartRanksFirst) {
  const auto merger =
      BytePairMerger::Make(Pieces({{"a", -9}, {"aa", -1}, {"aaa", -3}}));
  ASSERT_TRUE(merger.ok());
  const int32_t a = 256, aa = 257, aaa = 258;
  ASSERT_NE(merger->Find(aa, a), nullptr);
  ASSERT_NE(merger->Find(a, aa), nullptr);
  EXPECT_LT(merger->Find(aa, a)->rank, merger->Find(a, aa)->rank);
  EXPECT_EQ(merger->Find(a, aa)->id, aaa);
  EXPECT_EQ(merger->Find(aa, a)->id, aaa);
}

TEST(BytePairMerger, PiecesApart_AreNeitherMadeNorTaken) {
  auto pieces =
      Pieces({{"ab", -1}, {"abc", -2}, {"a", -9}, {"b", -9}, {"c", -9}});
  pieces[256].apart = true;
  EXPECT_EQ(Split(pieces, "abc"), (Texts{"a", "b", "c"}));
}

// The definition, word for word: again and again, the adjacent pair of the
// lowest rank, the leftmost of those.
std::vector<int32_t> SplitSlowly(const BytePairMerger& merger,
                                 std::vector<int32_t> ids) {
  while (true) {
    const BytePairMerger::Merge* best = nullptr;
    size_t at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const BytePairMerger::Merge* merge = merger.Find(ids[i], ids[i + 1]);
      if (merge == nullptr) continue;
      if (best == nullptr || merge->rank < best->rank) {
        best = merge;
        at = i;
      }
    }
    if (best == nullptr) return ids;
    ids[at] = best->id;
    ids.erase(ids.begin() + at + 1);
  }
}

TEST(BytePairMerger, RandomVocabularies_EqualMergingOnePairAtATime) {
  std::mt19937 random(20240717);
  for (int round = 0; round < 200; ++round) {
    std::map<std::string, float> texts = {{"a", -99}, {"b", -99}, {"c", -99}};
    while (texts.size() < 30) {
      std::string text;
      const int length = 2 + static_cast<int>(random() % 4);
      for (int i = 0; i < length; ++i) text += "abc"[random() % 3];
      // Few scores, so that ties are common.
      texts.emplace(text, -static_cast<float>(random() % 8));
    }
    const auto pieces = Pieces({texts.begin(), texts.end()});
    const auto merger = BytePairMerger::Make(pieces);
    ASSERT_TRUE(merger.ok());
    for (int word = 0; word < 20; ++word) {
      std::string text;
      std::vector<int32_t> letters;
      for (int i = 0; i < 40; ++i) {
        text += "abc"[random() % 3];
        const auto piece =
            std::find_if(pieces.begin(), pieces.end(), [&](const auto& p) {
              return p.text == text.substr(text.size() - 1);
            });
        letters.push_back(static_cast<int32_t>(piece - pieces.begin()));
      }
      std::vector<int32_t> ids;
      merger->Split(text, &ids);
      ASSERT_EQ(ids, SplitSlowly(*merger, letters)) << text;
    }
  }
}

TEST(BytePairMerger, VocabularyThatCannotWork_IsRefused) {
  EXPECT_FALSE(BytePairMerger::Make({}).ok());
  auto no_byte = Pieces({{"a", 0}});
  no_byte[65].byte = -1;
  EXPECT_FALSE(BytePairMerger::Make(no_byte).ok());
  EXPECT_FALSE(BytePairMerger::Make(Pieces({{"a", 0}, {"a", -1}})).ok());
  EXPECT_FALSE(BytePairMerger::Make(Pieces({{"a", std::nanf("")}})).ok());
}

}  // namespace
}  // namespace lapidary
