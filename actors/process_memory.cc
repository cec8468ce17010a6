#include "actors/process_memory.h"

#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace lapidary {

uint64_t ProcessResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  if (!(statm >> size >> resident)) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
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
