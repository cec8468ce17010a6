// The tokenizer against tests/goldens/tokenizer (tests/goldens/README.md).
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "storage/detokenizer.h"
#include "storage/file_io.h"
#include "storage/json.h"
#include "storage/tokenizer.h"
#include "tests/support/nano_tokenizer.h"

namespace lapidary {
namespace {

using Ids = std::vector<int32_t>;

std::string Golden(const std::string& name) {
  const auto text = ReadFile("tests/goldens/tokenizer/" + name, 1 << 24);
  EXPECT_TRUE(text.ok()) << text.status();
  return *text;
}

Json GoldenCases(const std::string& name) {
  return (*ParseJson(Golden(name), name))["cases"];
}

// Ids under the goldens' names: "plain" recognises control tokens in the text,
// "safe" does not and is written only where it differs.
const struct Way {
  const char* name;
  SpecialTokens special;
} kWays[] = {{"plain", SpecialTokens::kRecognise},
             {"safe", SpecialTokens::kPlainText}};

const Json& Expected(const Json& golden, const Way& way) {
  return golden[golden.contains(way.name) ? way.name : "plain"];
}

TEST(TokenizerGolden, Scripts_HaveHuggingFacesIds) {
  const Json cases = GoldenCases("scripts.json");
  ASSERT_GE(cases.size(), 30u);
  for (const Json& golden : cases) {
    const std::string text = golden["text"];
    for (const Way& way : kWays) {
      SCOPED_TRACE(golden["name"].get<std::string>() + ", " + way.name);
      EXPECT_EQ(*NanoTokenizer().Encode(text, way.special),
                Expected(golden, way).get<Ids>());
    }
  }
}

// Count of the ids, and FNV-1a over each as four little-endian bytes.
Json Digest(const Ids& ids) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ ((static_cast<uint32_t>(id) >> shift) & 0xFF)) *
             0x100000001B3;
    }
  }
  char hex[17];
  std::snprintf(hex, sizeof(hex), "%016llx",
                static_cast<unsigned long long>(hash));
  return {ids.size(), hex};
}

TEST(TokenizerGolden, RandomStrings_HaveHuggingFacesIds) {
  const std::string lines = Golden("random.jsonl");
  int count = 0;
  for (const absl::string_view line :
       absl::StrSplit(lines, '\n', absl::SkipEmpty())) {
    const Json golden = *ParseJson(line, "random.jsonl");
    const std::string text =
        golden.contains("hex")
            ? absl::HexStringToBytes(golden["hex"].get<std::string>())
            : golden["text"].get<std::string>();
    for (const Way& way : kWays) {
      ASSERT_EQ(Digest(*NanoTokenizer().Encode(text, way.special)),
                Expected(golden, way))
          << way.name << ": " << line;
    }
    ++count;
  }
  EXPECT_EQ(count, 10000);
}

TEST(TokenizerGolden, Ids_HaveHuggingFacesText) {
  const Json cases = GoldenCases("decode.json");
  ASSERT_GE(cases.size(), 300u);
  for (const Json& golden : cases) {
    SCOPED_TRACE(golden.dump());
    const Ids ids = golden["ids"];
    for (const bool skip : {false, true}) {
      const std::string text =
          golden[skip && golden.contains("skipped") ? "skipped" : "text"];
      EXPECT_EQ(NanoTokenizer().Decode(ids, skip), text);
      Detokenizer detokenizer(&NanoTokenizer(), skip);
      std::string streamed;
      for (const int32_t id : ids) streamed += detokenizer.Push(id);
      EXPECT_EQ(streamed + detokenizer.Flush(), text);
    }
  }
}

}  // namespace
}  // namespace lapidary
