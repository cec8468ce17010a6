#include "deploy/cli/prompt_flags.h"

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lapidary::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string WriteFile(const std::string& name, const std::string& content) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

absl::StatusOr<v1::Prompt> Build(const std::vector<std::string>& args,
                                 std::optional<std::string> question = {}) {
  PromptFlags prompt;
  FlagSet flags;
  prompt.Define(&flags);
  auto parsed = flags.Parse(args);
  if (!parsed.ok()) return parsed.status();
  return prompt.Build(question);
}

TEST(PromptFlags, Question_IsOneUserTurn) {
  auto prompt = Build({}, "Translate cat to Russian.");
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  ASSERT_EQ(prompt->chat().messages_size(), 1);
  EXPECT_EQ(prompt->chat().messages(0).role(), "user");
  EXPECT_EQ(prompt->chat().messages(0).parts(0).text(),
            "Translate cat to Russian.");
}

TEST(PromptFlags, System_ComesBeforeTheQuestion) {
  auto prompt = Build({"--system=Be brief."}, "Hello");
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  ASSERT_EQ(prompt->chat().messages_size(), 2);
  EXPECT_EQ(prompt->chat().messages(0).role(), "system");
}

TEST(PromptFlags, Ids_AreTakenAsTheyAre) {
  auto prompt = Build({"--ids=2,105, 9731"});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_THAT(prompt->ids().ids(), ElementsAre(2, 105, 9731));
}

TEST(PromptFlags, PromptFile_IsRawTextToTheByte) {
  const std::string text = "  <start_of_turn>user\nкот\n";
  auto prompt = Build({"--prompt-file=" + WriteFile("raw.txt", text)});
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(prompt->text(), text);
}

TEST(PromptFlags, Image_StandsBeforeTheWordsOfTheLastUserTurn) {
  const std::string picture = WriteFile("p.png", "pixels");
  auto prompt = Build({"--image=" + picture}, "What is this?");
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  const v1::Message& turn = prompt->chat().messages(0);
  ASSERT_EQ(turn.parts_size(), 2);
  EXPECT_EQ(turn.parts(0).image().data(), "pixels");
  EXPECT_EQ(turn.parts(1).text(), "What is this?");
}

TEST(PromptFlags, NoPromptOrTwo_IsAnErrorOfUsage) {
  EXPECT_TRUE(IsUsageError(Build({}).status()));
  EXPECT_TRUE(IsUsageError(Build({"--ids=2"}, "Hello").status()));
  EXPECT_TRUE(IsUsageError(Build({"--ids=2,x"}).status()));
  EXPECT_TRUE(IsUsageError(Build({"--ids="}).status()));
}

TEST(PromptFlags, MissingFile_IsNamed) {
  EXPECT_THAT(Build({"--prompt-file=/nowhere/p.txt"}).status().message(),
              HasSubstr("/nowhere/p.txt"));
}

TEST(PromptFlags, TextThatIsNotUtf8_IsRefusedWithTheByte) {
  const std::string path = WriteFile("latin1.txt", "caf\xE9!");
  const absl::Status error = Build({"--prompt-file=" + path}).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(error.message(), HasSubstr("byte 3 (0xe9)"));
  EXPECT_THAT(error.message(), HasSubstr(path));
}

TEST(ParseMessages, ContentIsAStringOrParts) {
  const std::string picture = WriteFile("q.png", "pixels");
  const std::string sound = WriteFile("q.wav", "samples");
  auto chat = ParseMessages(
      R"([{"role":"system","content":"Be brief."},
          {"role":"user","content":[{"type":"image","path":")" +
          picture + R"("},{"type":"audio","path":")" + sound +
          R"("},{"type":"text","text":"What is this?"}]},
          {"role":"assistant","content":"owl"}])",
      "chat.json");
  ASSERT_TRUE(chat.ok()) << chat.status();
  ASSERT_EQ(chat->messages_size(), 3);
  EXPECT_EQ(chat->messages(0).parts(0).text(), "Be brief.");
  EXPECT_EQ(chat->messages(1).parts(0).image().data(), "pixels");
  EXPECT_EQ(chat->messages(1).parts(1).audio().data(), "samples");
  EXPECT_EQ(chat->messages(1).parts(2).text(), "What is this?");
  EXPECT_EQ(chat->messages(2).role(), "assistant");
}

TEST(ParseMessages, EachMistake_IsNamedWithItsPlace) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{", "chat.json"},
      {R"({"role":"user"})", "a list of messages"},
      {"[1]", "[0] is 1"},
      {R"([{"content":"x"}])", "[0].role"},
      {R"([{"role":"user"}])", "[0].content"},
      {R"([{"role":"user","content":7}])", "[0].content is 7"},
      {R"([{"role":"user","content":["x"]}])", "[0].content[0]"},
      {R"([{"role":"user","content":[{"type":"video"}]}])", "video"},
      {R"([{"role":"user","content":[{"type":"text"}]}])", "text"},
      {R"([{"role":"user","content":[{"type":"image"}]}])", "path"},
      {R"([{"role":"user","content":[{"type":"image","path":"/no.png"}]}])",
       "/no.png"},
  };
  for (const auto& [json, wanted] : cases) {
    auto chat = ParseMessages(json, "chat.json");
    ASSERT_FALSE(chat.ok()) << json;
    EXPECT_THAT(chat.status().message(), HasSubstr(wanted)) << json;
  }
}

}  // namespace
}  // namespace lapidary::cli
