// The chat template against tests/goldens/chat (tests/goldens/README.md).
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/chat_template.h"
#include "storage/file_io.h"
#include "storage/json.h"
#include "tests/support/nano_tokenizer.h"

namespace lapidary {
namespace {

// A message as Hugging Face takes it, in our form.
ChatMessage MessageOf(const Json& json) {
  const std::string role = json["role"];
  const Json content = json.value("content", Json());
  if (content.is_string()) return ChatMessage::Text(role, content);
  if (!content.is_array() && !content.is_null()) {
    return {role, ChatMessage::Form::kOther, {}};
  }
  std::vector<ChatPart> parts;
  for (const Json& item : content) {
    if (item["type"] == "text") {
      parts.push_back({ChatPart::Kind::kText, item.value("text", "")});
    } else if (item["type"] == "image") {
      parts.push_back({ChatPart::Kind::kImage, ""});
    } else if (item["type"] == "audio") {
      parts.push_back({ChatPart::Kind::kAudio, ""});
    }
  }
  return ChatMessage::List(role, std::move(parts));
}

TEST(ChatTemplateGolden, Conversations_EqualApplyChatTemplate) {
  const auto text = ReadFile("tests/goldens/chat/cases.json", 1 << 24);
  ASSERT_TRUE(text.ok()) << text.status();
  const Json cases = (*ParseJson(*text, "cases.json"))["cases"];
  int rendered = 0, refused = 0;
  for (const Json& golden : cases) {
    SCOPED_TRACE(golden.dump());
    std::vector<ChatMessage> messages;
    for (const Json& message : golden["messages"]) {
      messages.push_back(MessageOf(message));
    }
    const absl::StatusOr<std::string> result =
        RenderChatText(messages, golden["add_generation_prompt"]);
    if (golden.contains("text")) {
      ++rendered;
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(*result, golden["text"].get<std::string>());
    } else {
      ++refused;
      EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
      // Jinja's own errors are about its variables; ours are not.
      if (golden["raises"] == "TemplateError") {
        EXPECT_EQ(result.status().message(),
                  golden["error"].get<std::string>());
      }
    }
  }
  EXPECT_GE(rendered, 30);
  EXPECT_GE(refused, 10);
}

// Where messages hold no names of control tokens, the ids are those of the
// whole rendered text, which is what Hugging Face tokenizes.
TEST(ChatTemplateGolden, Ids_AreThoseOfTheRenderedText) {
  const auto text = ReadFile("tests/goldens/chat/cases.json", 1 << 24);
  ASSERT_TRUE(text.ok()) << text.status();
  const Json cases = (*ParseJson(*text, "cases.json"))["cases"];
  int compared = 0;
  for (const Json& golden : cases) {
    if (!golden.contains("text")) continue;
    SCOPED_TRACE(golden.dump());
    std::vector<ChatMessage> messages;
    bool ordinary = true;
    for (const Json& message : golden["messages"]) {
      messages.push_back(MessageOf(message));
      const std::string role = message["role"];
      ordinary &= role == "system" || role == "user" || role == "assistant";
      for (const ChatPart& part : messages.back().parts) {
        ordinary &=
            *NanoTokenizer().Encode(part.text, SpecialTokens::kPlainText) ==
            *NanoTokenizer().Encode(part.text, SpecialTokens::kRecognise);
      }
    }
    if (!ordinary) continue;
    ++compared;
    const auto ids = RenderChatIds(NanoTokenizer(), messages,
                                   golden["add_generation_prompt"]);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, *NanoTokenizer().Encode(golden["text"].get<std::string>(),
                                            SpecialTokens::kRecognise));
  }
  EXPECT_GE(compared, 30);
}

}  // namespace
}  // namespace lapidary
