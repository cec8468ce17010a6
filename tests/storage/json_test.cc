#include "storage/json.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lapidary {
namespace {

using testing::HasSubstr;

std::string Nested(int depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

TEST(ParseJson, DepthIsBounded) {
  EXPECT_TRUE(ParseJson(Nested(kMaxJsonDepth), "x").ok());
  EXPECT_THAT(
      std::string(ParseJson(Nested(kMaxJsonDepth + 2), "x").status().message()),
      HasSubstr("nested deeper than 64"));
  EXPECT_FALSE(ParseJson(std::string(10'000'000, '['), "x").ok());
}

TEST(ParseJson, KeyTwiceInOneObjectIsRefused) {
  EXPECT_TRUE(ParseJson(R"({"a": {"b": 1}, "c": {"b": 1}})", "x").ok());
  EXPECT_THAT(
      std::string(
          ParseJson(R"({"a": {"b": 1, "b": 2}})", "file").status().message()),
      HasSubstr("file: the key \"b\" stands twice"));
}

TEST(ParseJson, OnlyStrictJsonIsRead) {
  for (const char* text : {"", "{", "{'a': 1}", "[1,]", "NaN", "1 2",
                           "\"\xFF\"", "/* */ 1", "{\"a\" 1}"}) {
    EXPECT_EQ(ParseJson(text, "x").status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(JsonFields, FirstErrorIsKept) {
  const Json json = {{"a", "text"}, {"b", -1}, {"c", 3}};
  JsonFields fields(json, "file.json");
  EXPECT_EQ(fields.Int("c", 0, 0, 9), 3);
  EXPECT_TRUE(fields.ok());
  EXPECT_EQ(fields.Int("a", 7, 0, 9), 7);
  EXPECT_EQ(fields.Int("b", 8, 0, 9), 8);
  EXPECT_EQ(fields.status().message(),
            "file.json: a is \"text\": want an integer from 0 to 9");
}

TEST(JsonFields, NullIsNotAbsent) {
  const Json json = {{"a", nullptr}};
  JsonFields fields(json, "x");
  EXPECT_FALSE(fields.Has("a"));
  EXPECT_TRUE(fields.IsNull("a"));
  EXPECT_FALSE(fields.IsNull("b"));
  EXPECT_EQ(fields.OptionalInt("a", 0, 9), std::nullopt);
  EXPECT_TRUE(fields.Bool("b", true));
  EXPECT_TRUE(fields.ok());
  fields.Bool("a", true);
  EXPECT_FALSE(fields.ok());
}

TEST(JsonFields, AnArrayIsNoObject) {
  const Json json = Json::array({1, 2});
  JsonFields fields(json, "x");
  EXPECT_FALSE(fields.ok());
  EXPECT_EQ(fields.Int("a", 5, 0, 9), 5);
}

TEST(JsonForMessage, LongOrInvalidTextIsCut) {
  EXPECT_LT(JsonForMessage(std::string(1000, 'x')).size(), 90u);
  EXPECT_EQ(JsonForMessage(std::vector<int>(9, 1)), "a list of 9 values");
  EXPECT_EQ(JsonForMessage("\xFF"), "\"\\ufffd\"");
}

}  // namespace
}  // namespace lapidary
