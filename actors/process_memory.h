// What the kernel says of this process's memory.
#ifndef LAPIDARY_ACTORS_PROCESS_MEMORY_H_
#define LAPIDARY_ACTORS_PROCESS_MEMORY_H_

#include <cstdint>
#include <string>

namespace lapidary {

// Bytes in memory now; 0 where the kernel does not tell.
uint64_t ProcessResidentBytes();

// The least memory limit of the control groups that this process is in, version
// 1 or 2; 0 for none. The arguments are where the kernel says so.
uint64_t CgroupMemoryLimit(const std::string& membership = "/proc/self/cgroup",
                           const std::string& root = "/sys/fs/cgroup");

// Bytes in memory now of the files under `folder` that are mapped. Walks page
// tables: milliseconds for gigabytes.
uint64_t MappedResidentBytes(const std::string& folder);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_PROCESS_MEMORY_H_
