// What Tokenizer::Load makes of folders that are incomplete, damaged or
// hostile.
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/file_io.h"
#include "storage/json.h"
#include "storage/tokenizer.h"
#include "storage/tokenizer_check.h"
#include "tests/support/nano_tokenizer.h"

namespace lapidary {
namespace {

using ::testing::HasSubstr;

// A copy of the bundled tokenizer's files, to be spoilt.
class TokenizerFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(
        testing::TempDir(), "/",
        testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    for (const char* name :
         {"tokenizer.model", "tokenizer.json", "tokenizer_config.json"}) {
      Write(name, Original(name));
    }
    added_ =
        (*ParseJson(Original("tokenizer.json"), "original"))["added_tokens"];
  }

  static std::string Original(const std::string& name) {
    return *ReadFile(absl::StrCat(kNanoFolder, "/", name), 1 << 24);
  }
  void Write(const std::string& name, const std::string& content) {
    ASSERT_TRUE(
        WriteFileAtomically(absl::StrCat(folder_, "/", name), content).ok());
  }
  void Remove(const std::string& name) {
    std::filesystem::remove(folder_ + "/" + name);
  }
  void WriteAdded(const Json& added) {
    Write("tokenizer.json", Json{{"added_tokens", added}}.dump());
  }
  absl::Status Load() { return Tokenizer::Load(folder_).status(); }

  std::string folder_;
  Json added_;
};

TEST_F(TokenizerFiles, MissingFile_IsNamed) {
  Remove("tokenizer.model");
  EXPECT_EQ(Load().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Load().ToString(), HasSubstr("tokenizer.model"));

  Write("tokenizer.model", Original("tokenizer.model"));
  Remove("tokenizer.json");
  EXPECT_EQ(Load().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Load().ToString(), HasSubstr("tokenizer.json"));
}

TEST_F(TokenizerFiles, TruncatedModel_IsRefused) {
  const std::string model = Original("tokenizer.model");
  for (size_t bytes = 0; bytes < model.size();
       bytes += bytes < 200 ? 1 : model.size() / 60) {
    Write("tokenizer.model", model.substr(0, bytes));
    const absl::Status status = Load();
    // The trainer's settings at the end of the file are not used.
    if (bytes * 100 < model.size() * 95) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bytes;
    }
  }
}

TEST_F(TokenizerFiles, DamagedModel_NeverCrashes) {
  const std::string model = Original("tokenizer.model");
  std::mt19937 random(5);
  for (int round = 0; round < 150; ++round) {
    std::string damaged = model;
    for (int i = 0; i < 8; ++i) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    Write("tokenizer.model", damaged);
    const absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
        Tokenizer::Load(folder_);
    if (!tokenizer.ok()) continue;
    EXPECT_TRUE(
        (*tokenizer)->Encode("a horse", SpecialTokens::kPlainText).ok());
  }
}

TEST_F(TokenizerFiles, TokenizerJsonCutInItsAddedTokens_IsRefused) {
  const std::string json = Original("tokenizer.json");
  const size_t end = json.find("\"model\"");
  ASSERT_NE(end, std::string::npos);
  for (size_t bytes = 0; bytes < end / 2; bytes += 97) {
    Write("tokenizer.json", json.substr(0, bytes));
    ASSERT_EQ(Load().code(), absl::StatusCode::kInvalidArgument) << bytes;
  }
}

TEST_F(TokenizerFiles, TokenizerJsonOfAnotherShape_IsRefused) {
  for (const char* json :
       {"", "null", "[]", "{}", "[[\"added_tokens\"]]",
        R"({"added_tokens": null})", R"({"added_tokens": {}})",
        R"({"added_tokens": "x"})", R"({"added_tokens": [1]})",
        R"({"added_tokens": [[]]})", R"({"added_tokens": [{"id": {}}]})",
        R"({"added_tokens": [{"id": [0]}]})", R"({"x": {"added_tokens": []}})",
        R"({"added_tokens": []})"}) {
    SCOPED_TRACE(json);
    Write("tokenizer.json", json);
    EXPECT_EQ(Load().code(), absl::StatusCode::kInvalidArgument);
  }
  Write("tokenizer.json", std::string(1 << 20, '['));
  EXPECT_EQ(Load().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(TokenizerFiles, BadAddedToken_IsRefusedAndNamed) {
  const std::function<void(Json*)> spoils[] = {
      [](Json* token) { (*token)["id"] = -1; },
      [](Json* token) { (*token)["id"] = 1 << 30; },
      [](Json* token) { (*token)["id"] = 1e300; },
      [](Json* token) { (*token)["id"] = "7"; },
      [](Json* token) { (*token)["id"] = uint64_t{1} << 63; },
      [](Json* token) { token->erase("id"); },
      [](Json* token) { (*token)["content"] = ""; },
      [](Json* token) { (*token)["content"] = 7; },
      [](Json* token) { (*token)["content"] = std::string(5000, 'x'); },
      [](Json* token) { token->erase("content"); },
      [](Json* token) { (*token)["special"] = 1; },
      [](Json* token) { (*token)["lstrip"] = true; },
      [](Json* token) { (*token)["rstrip"] = true; },
      [](Json* token) { (*token)["single_word"] = true; },
  };
  for (const auto& spoil : spoils) {
    Json added = added_;
    spoil(&added[7]);
    SCOPED_TRACE(JsonForMessage(added[7]));
    WriteAdded(added);
    EXPECT_EQ(Load().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Load().ToString(), HasSubstr("added_tokens[7]"));
  }
  WriteAdded(added_);
  EXPECT_TRUE(Load().ok()) << Load();
}

TEST_F(TokenizerFiles, TwoTokensOfOneIdOrName_AreRefused) {
  Json added = added_;
  added[8]["id"] = added[7]["id"];
  WriteAdded(added);
  EXPECT_THAT(Load().ToString(), HasSubstr("two added tokens"));
  added = added_;
  added[8]["content"] = added[7]["content"];
  WriteAdded(added);
  EXPECT_THAT(Load().ToString(), HasSubstr("two ids"));
}

TEST_F(TokenizerFiles, WithoutTokenizerJson_ConfigSaysTheSame) {
  Remove("tokenizer.json");
  Json decoder = Json::object(), later = Json::object();
  for (const Json& token : added_) {
    Json copy = token;
    copy.erase("id");
    // One that only added_tokens.json knows.
    if (token["content"] == "\n\n") {
      later[token["content"].get<std::string>()] = token["id"];
    } else {
      decoder[std::to_string(token["id"].get<int>())] = copy;
    }
  }
  Write("tokenizer_config.json",
        Json{{"added_tokens_decoder", decoder}}.dump());
  Write("added_tokens.json", later.dump());
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::string text = "<bos><start_of_turn>user\n\n\nA horse <mask>\n\n!";
  for (const SpecialTokens special :
       {SpecialTokens::kPlainText, SpecialTokens::kRecognise}) {
    EXPECT_EQ(*(*tokenizer)->Encode(text, special),
              *NanoTokenizer().Encode(text, special));
  }
}

// As `tokenizer.add_tokens(["o se"])` of Hugging Face makes one: with spaces,
// and matched after they are replaced.
TEST_F(TokenizerFiles, NormalizedToken_IsFoundInNormalizedText) {
  added_.push_back({{"id", 3138}, {"content", "o se"}, {"normalized", true}});
  WriteAdded(added_);
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const char* text : {"xo se", "xo\xE2\x96\x81se"}) {
    const auto ids = (*tokenizer)->Encode(text, SpecialTokens::kPlainText);
    EXPECT_EQ(*ids, (std::vector<int32_t>{2980, 3138}));
  }
}

// One `pieces` entry (field 1 of ModelProto) in Protobuf's wire format: piece
// (field 1), score (field 2), type (field 3: 1 normal, 2 unknown, 3 control,
// 4 user-defined, 6 byte).
std::string PieceEntry(const std::string& piece, float score, char type) {
  std::string entry = "\x0A";
  entry += static_cast<char>(piece.size());
  entry += piece;
  char bytes[sizeof(score)];
  std::memcpy(bytes, &score, sizeof(score));
  entry += '\x15';
  entry.append(bytes, sizeof(bytes));
  entry += '\x18';
  entry += type;
  return std::string("\x0A") + static_cast<char>(entry.size()) + entry;
}

std::string Varint(size_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) {
    bytes += static_cast<char>(value | 0x80);
  }
  return bytes + static_cast<char>(value);
}

// Every cut of a piece is looked up, so a long one takes time by its square.
TEST_F(TokenizerFiles, PieceAsLongAsABook_IsRefused) {
  const std::string model = Original("tokenizer.model");
  for (const size_t bytes : {1024, 1025, 10 << 20}) {
    const std::string piece = "\x0A" + Varint(bytes) + std::string(bytes, 'x');
    Write("tokenizer.model", model + "\x0A" + Varint(piece.size()) + piece);
    const absl::Status status = Load();
    if (bytes == 1024) {
      EXPECT_TRUE(status.ok()) << status;
      continue;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(status.ToString(),
                HasSubstr(absl::StrCat("has ", bytes, " bytes")));
  }
}

// Here merging alone would make <bos> and <unused7> of their letters.
TEST_F(TokenizerFiles, ControlTokensThatMergingCouldMake_StayText) {
  std::string model = PieceEntry("<unk>", 0, 2);
  Json added = Json::array();
  int id = 1;
  for (const char* name :
       {"<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>"}) {
    model += PieceEntry(name, 0, 4);
    added.push_back({{"id", id++}, {"content", name}, {"normalized", true}});
  }
  added.push_back({{"id", 0}, {"content", "<unk>"}, {"special", true}});
  model += PieceEntry("<unused7>", 0, 4);  // no added token
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", byte);
    model += PieceEntry(name, 0, 6);
  }
  float score = 0;
  for (const char* text :
       {"bo", "<bo", "s>", "un", "us", "ed", "unus", "<unus", "7>", "<unused",
        "<",  ">",   "b",  "o",  "s",  "u",  "n",    "e",     "d",  "7"}) {
    model += PieceEntry(text, score -= 1, 1);
  }
  // trainer_spec (field 2): model_type (3) BPE, byte_fallback (35) true.
  model += "\x12\x05\x18\x02\x98\x02\x01";
  Write("tokenizer.model", model);
  WriteAdded(added);
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids =
      (*tokenizer)->Encode("<bos><unused7>", SpecialTokens::kPlainText);
  std::vector<std::string> pieces;
  for (const int32_t id : *ids) pieces.push_back((*tokenizer)->Piece(id));
  EXPECT_THAT(pieces, testing::ElementsAre("<bo", "s>", "<unused", "7>"));
  EXPECT_EQ(*(*tokenizer)->Encode("<bos>", SpecialTokens::kRecognise),
            (std::vector<int32_t>{1}));
}

// Without it in the added tokens, no text and no template could name it.
TEST_F(TokenizerFiles, TurnTokenThatIsNotAdded_IsRefused) {
  for (size_t i = 0; i < added_.size(); ++i) {
    if (added_[i]["content"] == "<end_of_turn>") added_.erase(i--);
  }
  WriteAdded(added_);
  EXPECT_EQ(Load().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Load().ToString(), HasSubstr("<end_of_turn>"));
}

TEST_F(TokenizerFiles, TokenizerJsonOfTheSameTokenizer_PassesTheCheck) {
  const absl::Status status =
      CheckTokenizerJson(NanoTokenizer(), folder_ + "/tokenizer.json");
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(TokenizerFiles, TokenizerJsonOfAnotherTokenizer_FailsTheCheck) {
  const Json original = *ParseJson(Original("tokenizer.json"), "original");
  const std::function<void(Json*)> changes[] = {
      [](Json* model) {
        std::swap((*model)["merges"][5], (*model)["merges"][6]);
      },
      [](Json* model) { (*model)["merges"].erase(2000); },
      [](Json* model) { (*model)["merges"][5] = 3; },
      [](Json* model) {
        (*model)["merges"].push_back({"a", "<eos>"});
      },
      [](Json* model) {
        std::swap((*model)["vocab"]["a"], (*model)["vocab"]["b"]);
      },
      [](Json* model) { (*model)["vocab"].erase("a"); },
      [](Json* model) { (*model)["vocab"]["a"] = -1; },
      [](Json* model) { (*model)["vocab"]["a"] = 1 << 30; },
      [](Json* model) { model->erase("vocab"); },
  };
  for (size_t i = 0; i < std::size(changes); ++i) {
    Json json = original;
    changes[i](&json["model"]);
    Write("tokenizer.json", json.dump());
    EXPECT_EQ(
        CheckTokenizerJson(NanoTokenizer(), folder_ + "/tokenizer.json").code(),
        absl::StatusCode::kInvalidArgument)
        << i;
  }
}

}  // namespace
}  // namespace lapidary
