// The page cache, as the kernel reports it for real files.
#include "storage/page_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary {
namespace {

constexpr size_t kBytes = 300000;

// Written and on disk, so that the kernel may forget it.
std::string MakeFile(const std::string& name) {
  const std::string path = testing::TempDir() + "/" + name;
  const int fd = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0644);
  const std::string content(kBytes, 'x');
  EXPECT_EQ(write(fd, content.data(), content.size()),
            static_cast<ssize_t>(content.size()));
  EXPECT_EQ(fsync(fd), 0);
  close(fd);
  return path;
}

TEST(PageCache, CountsWhatIsResidentAndForgetsIt) {
  const std::vector<std::string> files = {MakeFile("one"), MakeFile("two")};
  PageCache cache(files);
  if (!CanReadDirect(files[0])) GTEST_SKIP() << "not on a disk";
  EXPECT_GE(cache.ResidentBytes(), static_cast<int64_t>(2 * kBytes));
  cache.Drop();
  EXPECT_EQ(cache.ResidentBytes(), 0);
}

TEST(PageCache, NoFilesAreNoBytes) {
  PageCache cache({testing::TempDir() + "/no_such_file"});
  cache.Drop();
  EXPECT_EQ(cache.ResidentBytes(), 0);
}

TEST(PageCache, WhatCannotBeOpenedCannotBeReadDirect) {
  EXPECT_FALSE(CanReadDirect(testing::TempDir() + "/no_such_file"));
}

}  // namespace
}  // namespace lapidary
