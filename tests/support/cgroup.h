// A control group with a memory limit, where this process may make one.
#ifndef LAPIDARY_TESTS_SUPPORT_CGROUP_H_
#define LAPIDARY_TESTS_SUPPORT_CGROUP_H_

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace lapidary {

class Cgroup {
 public:
  // Below the group that this process is in, version 1 or 2; null where that is
  // forbidden (only root may, and not in every container).
  static std::unique_ptr<Cgroup> Make(uint64_t limit) {
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
      const size_t first = line.find(':'), second = line.find(':', first + 1);
      const bool v1 = line.substr(first + 1, second - first - 1) == "memory";
      if (!v1 && second != first + 1) continue;
      const std::string root = v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
      const std::string path = root + line.substr(second + 1) +
                               "/lapidary-test-" + std::to_string(getpid());
      if (mkdir(path.c_str(), 0755) != 0) continue;
      std::unique_ptr<Cgroup> group(new Cgroup(path, v1));
      std::ofstream(path + (v1 ? "/memory.limit_in_bytes" : "/memory.max"))
          << limit << std::flush;
      uint64_t set = 0;
      std::ifstream(path + (v1 ? "/memory.limit_in_bytes" : "/memory.max")) >>
          set;
      if (set > 0 && set <= limit) return group;
    }
    return nullptr;
  }
  ~Cgroup() { rmdir(path_.c_str()); }

  // The command that runs `command` inside.
  std::vector<std::string> Inside(std::vector<std::string> command) const {
    std::vector<std::string> all = {
        "/bin/sh", "-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"", path_};
    all.insert(all.end(), command.begin(), command.end());
    return all;
  }

  // The most that it ever held, page cache among it; 0 if it does not tell.
  uint64_t Peak() const {
    uint64_t peak = 0;
    std::ifstream(path_ +
                  (v1_ ? "/memory.max_usage_in_bytes" : "/memory.peak")) >>
        peak;
    return peak;
  }

 private:
  Cgroup(std::string path, bool v1) : path_(std::move(path)), v1_(v1) {}

  const std::string path_;
  const bool v1_;
};

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_CGROUP_H_
