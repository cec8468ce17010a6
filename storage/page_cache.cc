#include "storage/page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace lapidary {
namespace {

constexpr size_t kDirectAlignment = 4096;

// Mapping a window at a time bounds the answer vector of mincore.
constexpr uint64_t kWindowBytes = uint64_t{1} << 30;

// The kernel's own rule for answering mincore truthfully.
bool MayAskResidency(const std::string& file, const struct stat& info) {
  return geteuid() == info.st_uid || access(file.c_str(), W_OK) == 0;
}

}  // namespace

bool CanReadDirect(const std::string& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0) return false;
  void* block = std::aligned_alloc(kDirectAlignment, kDirectAlignment);
  // Some file systems take the flag and refuse the read.
  const bool can =
      block != nullptr && pread(fd, block, kDirectAlignment, 0) >= 0;
  std::free(block);
  close(fd);
  return can;
}

PageCache::PageCache(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    struct stat info;
    if (fstat(fd, &info) != 0) {
      close(fd);
      continue;
    }
    files_.push_back(
        {fd, static_cast<uint64_t>(info.st_size), MayAskResidency(file, info)});
  }
}

PageCache::~PageCache() {
  for (const File& file : files_) close(file.fd);
}

int64_t PageCache::ResidentBytes() const {
  const uint64_t page = sysconf(_SC_PAGESIZE);
  uint64_t resident = 0;
  std::vector<unsigned char> present;
  for (const File& file : files_) {
    if (!file.visible) return -1;
    for (uint64_t offset = 0; offset < file.bytes; offset += kWindowBytes) {
      const uint64_t length = std::min(kWindowBytes, file.bytes - offset);
      void* map = mmap(nullptr, length, PROT_READ, MAP_SHARED, file.fd, offset);
      if (map == MAP_FAILED) return -1;
      present.assign((length + page - 1) / page, 0);
      const bool told = mincore(map, length, present.data()) == 0;
      munmap(map, length);
      if (!told) return -1;
      for (unsigned char flags : present) resident += (flags & 1) * page;
    }
  }
  return static_cast<int64_t>(resident);
}

void PageCache::Drop() {
  for (const File& file : files_) {
    posix_fadvise(file.fd, 0, 0, POSIX_FADV_DONTNEED);
  }
}

}  // namespace lapidary
