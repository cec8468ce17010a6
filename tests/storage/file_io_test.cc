#include "storage/file_io.h"

#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/child_process.h"
#include "tests/support/files.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using testing::HasSubstr;

TEST(FileWriter, WritesWhatWasAppendedAndChecksumsIt) {
  TempDir dir;
  const std::string path = dir.File("a.bin");
  auto file = FileWriter::Create(path);
  ASSERT_TRUE(file.ok()) << file.status();
  // More than once past the point where pages are sent to disk.
  const std::string piece(50'000'000, 'p');
  std::string all;
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE((*file)->Append(piece.data(), piece.size()).ok());
    all += piece;
  }
  ASSERT_TRUE((*file)->Append("abc", 3).ok());
  ASSERT_TRUE((*file)->AlignTo(4096).ok());
  all += "abc";
  all.resize((all.size() + 4095) / 4096 * 4096, '\0');
  ASSERT_TRUE((*file)->AlignTo(4096).ok());
  EXPECT_EQ((*file)->size(), all.size());
  ASSERT_TRUE((*file)->Finish().ok());
  EXPECT_TRUE(ReadBytes(path) == all);
  EXPECT_EQ((*file)->checksum(), Checksum(all));
  EXPECT_EQ(*FileChecksum(path), Checksum(all));
}

// Golden: libxxhash 0.8.1. The format may never change under packed models.
TEST(Checksum, IsXxh3Of128Bits) {
  EXPECT_EQ(Checksum("abc"), "06b05ab6733a618578af5f94892f3950");
}

TEST(WriteFileAtomically, ReplacesTheWholeFile) {
  TempDir dir;
  const std::string path = dir.File("a.json");
  ASSERT_TRUE(WriteFileAtomically(path, "a longer text").ok());
  ASSERT_TRUE(WriteFileAtomically(path, "short").ok());
  EXPECT_EQ(ReadBytes(path), "short");
  EXPECT_EQ(ListFolder(dir.path())->size(), 1u);
}

TEST(ReadFile, SizeIsBounded) {
  TempDir dir;
  WriteBytes(dir.File("a"), "12345");
  EXPECT_EQ(*ReadFile(dir.File("a"), 5), "12345");
  EXPECT_EQ(ReadFile(dir.File("a"), 4).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadFile(dir.File("b"), 4).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadFile(dir.path(), 4).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ParentFolder, IsTheFolderThatHoldsThePath) {
  EXPECT_EQ(ParentFolder("name"), ".");
  EXPECT_EQ(ParentFolder("/name"), "/");
  EXPECT_EQ(ParentFolder("a/b"), "a");
  EXPECT_EQ(ParentFolder("/a/b//c"), "/a/b");
}

TEST(RemoveAll, DoesNotFollowLinks) {
  TempDir dir;
  WriteBytes(dir.File("kept"), "kept");
  std::filesystem::create_directory(dir.File("folder"));
  std::filesystem::create_symlink(dir.File("kept"), dir.File("folder/link"));
  std::filesystem::create_directory_symlink(dir.path(), dir.File("folder/up"));
  EXPECT_TRUE(RemoveAll(dir.File("folder")).ok());
  EXPECT_FALSE(std::filesystem::exists(dir.File("folder")));
  EXPECT_EQ(ReadBytes(dir.File("kept")), "kept");
  EXPECT_TRUE(RemoveAll(dir.File("absent")).ok());
}

TEST(FileWriter, DoesNotWriteThroughALink) {
  TempDir dir;
  WriteBytes(dir.File("kept"), "kept");
  std::filesystem::create_symlink(dir.File("kept"), dir.File("link"));
  EXPECT_FALSE(FileWriter::Create(dir.File("link")).ok());
  EXPECT_EQ(ReadBytes(dir.File("kept")), "kept");
}

TEST(FileError, FullDiskSaysHowMuchIsFree) {
  TempDir dir;
  const Child child = OnFileSystem("tmpfs", "size=64k", dir.File("disk"), [&] {
    auto file = FileWriter::Create(dir.File("disk/a"));
    ASSERT_TRUE(file.ok()) << file.status();
    const std::string much(100'000, 'x');
    const absl::Status full = (*file)->Append(much.data(), much.size());
    EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(full.message()), HasSubstr("0 bytes free"));
  });
  if (child == Child::kCannot) GTEST_SKIP() << "may not mount a tmpfs here";
  EXPECT_EQ(child, Child::kPassed);
}

TEST(FileError, MissingRightsAreTold) {
  TempDir dir;
  WriteBytes(dir.File("secret"), "x");
  std::filesystem::permissions(dir.File("secret"),
                               std::filesystem::perms::none);
  const Child child = WithoutPrivileges([&] {
    const absl::Status status = ReadFile(dir.File("secret"), 9).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("secret"));
  });
  if (child == Child::kCannot) GTEST_SKIP() << "cannot drop rights";
  EXPECT_EQ(child, Child::kPassed);
}

}  // namespace
}  // namespace lapidary
