#include "actors/process_memory.h"

#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace lapidary {
namespace {

// A number in `file`; 0 if there is none ("max", no such file).
uint64_t NumberIn(const std::string& file) {
  std::ifstream in(file);
  uint64_t number = 0;
  return in >> number ? number : 0;
}

// The least limit of the groups from `path` up to the root.
uint64_t LeastLimit(const std::string& root, std::string path,
                    const char* file) {
  // Version 1 says none by the largest number of whole pages.
  constexpr uint64_t kNone = uint64_t{1} << 62;
  uint64_t least = kNone;
  for (;;) {
    const uint64_t limit = NumberIn(root + path + "/" + file);
    if (limit > 0) least = std::min(least, limit);
    const size_t slash = path.rfind('/');
    if (path.empty() || slash == std::string::npos) break;
    path.resize(slash);
  }
  return least == kNone ? 0 : least;
}

}  // namespace

uint64_t ProcessResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  if (!(statm >> size >> resident)) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t CgroupMemoryLimit(const std::string& membership,
                           const std::string& root) {
  // "4:memory:/path" is version 1, "0::/path" version 2. Where a container
  // shows the host's path, only the root is there.
  std::ifstream groups(membership);
  uint64_t least = 0;
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    uint64_t limit = 0;
    if (controllers == "memory") {
      limit = LeastLimit(root + "/memory", path, "memory.limit_in_bytes");
    } else if (controllers.empty()) {
      limit = LeastLimit(root, path, "memory.max");
    }
    if (limit > 0 && (least == 0 || limit < least)) least = limit;
  }
  return least;
}

uint64_t MappedResidentBytes(const std::string& folder) {
  char real[PATH_MAX];  // the kernel names files by their real paths
  if (realpath(folder.c_str(), real) == nullptr) return 0;
  const std::string inside = std::string(" ") + real + "/";
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  bool ours = false;
  uint64_t bytes = 0;
  while (std::getline(smaps, line)) {
    unsigned long from, to;
    unsigned long long kilobytes;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
      ours = line.find(inside) != std::string::npos;
    } else if (ours &&
               std::sscanf(line.c_str(), "Rss: %llu kB", &kilobytes) == 1) {
      bytes += kilobytes * 1024;
    }
  }
  return bytes;
}

}  // namespace lapidary
