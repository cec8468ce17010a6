#include "storage/safetensors.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using testing::HasSubstr;

class SafetensorsTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(
      const std::string& bytes) {
    WriteBytes(path_, bytes);
    return SafetensorsFile::Open(path_);
  }

  TempDir dir_;
  const std::string path_ = dir_.File("model.safetensors");
};

constexpr char kTwoTensors[] =
    R"({"__metadata__": {"format": "pt"},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [6, 14]},
        "a": {"dtype": "BF16", "shape": [1, 3], "data_offsets": [0, 6]}})";

TEST_F(SafetensorsTest, TensorsAreListedInFileOrder) {
  const auto file = Open(Safetensors(kTwoTensors, "aaaaaabbbbbbbb"));
  ASSERT_TRUE(file.ok()) << file.status();
  const std::vector<SafetensorsEntry>& entries = (*file)->entries();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].name, "a");
  EXPECT_EQ(entries[0].shape, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(entries[0].bytes, 6u);
  EXPECT_EQ(entries[1].name, "b");
  EXPECT_EQ(entries[1].dtype, "F32");
  EXPECT_EQ((*file)->file().data()[entries[1].offset], std::byte{'b'});
}

TEST_F(SafetensorsTest, EmptyTensorsAreAllowed) {
  const auto file = Open(Safetensors(
      R"({"a": {"dtype": "F32", "shape": [0, 7], "data_offsets": [0, 0]},
          "b": {"dtype": "U8", "shape": [], "data_offsets": [0, 1]}})",
      "x"));
  EXPECT_TRUE(file.ok()) << file.status();
}

TEST_F(SafetensorsTest, EveryCutOffFileIsRefused) {
  const std::string whole = Safetensors(kTwoTensors, "aaaaaabbbbbbbb");
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    const auto file = Open(whole.substr(0, bytes));
    EXPECT_EQ(file.status().code(), absl::StatusCode::kDataLoss) << bytes;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(path_));
  }
}

TEST_F(SafetensorsTest, CutOffDataNamesTheTensor) {
  const auto file = Open(Safetensors(kTwoTensors, "aaaaaabbbbbbb"));
  EXPECT_THAT(
      std::string(file.status().message()),
      testing::AllOf(HasSubstr("b: ends at byte 14"), HasSubstr("only 13")));
}

TEST_F(SafetensorsTest, WrongHeadersAreRefusedWithTheReason) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
           "b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})",
       "b: overlaps a"},
      {R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
           "b": {"dtype": "U8", "shape": [3], "data_offsets": [5, 8]}})",
       "b: 1 bytes before it belong to no tensor"},
      {R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})",
       "last 4 bytes belong to no tensor"},
      {R"({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}})",
       "a: has 8 bytes, but its shape [3] of F32"},
      {R"({"a": {"dtype": "F8", "shape": [8], "data_offsets": [0, 8]}})",
       "dtype is \"F8\""},
      {R"({"a": {"shape": [8], "data_offsets": [0, 8]}})", "dtype"},
      {R"({"a": {"dtype": "U8", "shape": [-8], "data_offsets": [0, 8]}})",
       "not a list of sizes"},
      {R"({"a": {"dtype": "U8", "shape": [8.0], "data_offsets": [0, 8]}})",
       "not a list of sizes"},
      {R"({"a": {"dtype": "U8", "shape": [8], "data_offsets": [8, 0]}})",
       "not a list of sizes"},
      {R"({"a": {"dtype": "U8", "shape": [8], "data_offsets": [0]}})",
       "not a list of sizes"},
      // 2^32 · 2^32 · 8 bytes are 0 in 64 bits.
      {R"({"a": {"dtype": "F64", "shape": [4294967296, 4294967296],
                 "data_offsets": [0, 0]}})",
       "a: has 0 bytes"},
      {R"({"a": {"dtype": "U8", "shape": [8],
                 "data_offsets": [0, 18446744073709551615]}})",
       "not a list of sizes"},
      {R"({"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]},
           "a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}})",
       "the key \"a\" stands twice"},
      {R"({"a": 7})", "a is 7: want a JSON object"},
      {R"(["a"])", "header is no object"},
      {R"({"a": )", "not valid JSON"},
  };
  for (const auto& [header, said] : cases) {
    const auto file = Open(Safetensors(header, "12345678"));
    EXPECT_EQ(file.status().code(), absl::StatusCode::kDataLoss) << header;
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(said));
  }
}

TEST_F(SafetensorsTest, AnAbsurdHeaderLengthIsNotBelieved) {
  const std::string absurd = "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F{}";
  EXPECT_THAT(std::string(Open(absurd).status().message()),
              HasSubstr("9223372036854775807"));
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 7\n";
  EXPECT_THAT(std::string(Open(pointer).status().message()),
              HasSubstr("Git LFS"));
}

}  // namespace
}  // namespace lapidary
