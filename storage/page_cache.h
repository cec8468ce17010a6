// What the operating system keeps in memory of some files: asked for, and
// given back.
#ifndef LAPIDARY_STORAGE_PAGE_CACHE_H_
#define LAPIDARY_STORAGE_PAGE_CACHE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace lapidary {

// True if `file` can be read with O_DIRECT; tmpfs and some network and overlay
// file systems cannot.
bool CanReadDirect(const std::string& file);

// A fixed set of files that do not change. Thread-safe.
class PageCache {
 public:
  // Files that cannot be opened are left out.
  explicit PageCache(const std::vector<std::string>& files);
  ~PageCache();
  PageCache(const PageCache&) = delete;
  PageCache& operator=(const PageCache&) = delete;

  // Bytes of the files in the page cache, in whole pages; -1 where the kernel
  // does not tell this process (it tells owners and those who may write).
  // Looks at every page: 4 GB take some 60 ms.
  int64_t ResidentBytes() const;

  // Asks the operating system to forget the files' pages.
  void Drop();

 private:
  struct File {
    int fd;
    uint64_t bytes;
    bool visible;
  };
  std::vector<File> files_;
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_PAGE_CACHE_H_
