// Parts of a test that need less rights or a file system of their own: they
// run in a child process, which the machine may not allow.
//
//   const Child child =
//       WithoutPrivileges([] { EXPECT_FALSE(Open(secret).ok()); });
//   if (child == Child::kCannot) GTEST_SKIP() << "cannot drop rights";
//   EXPECT_EQ(child, Child::kPassed);
#ifndef LAPIDARY_TESTS_SUPPORT_CHILD_PROCESS_H_
#define LAPIDARY_TESTS_SUPPORT_CHILD_PROCESS_H_

#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "gtest/gtest.h"

namespace lapidary {

// What became of a child process.
enum class Child { kPassed, kFailed, kCannot };

// Runs `body` in a child whose EXPECTs count; `prepare` false: it cannot run
// here.
template <typename Prepare, typename Body>
Child InChild(Prepare prepare, Body body) {
  constexpr int kCannotRun = 99;
  const pid_t child = fork();
  if (child < 0) return Child::kFailed;
  if (child == 0) {
    if (!prepare()) _exit(kCannotRun);
    body();
    std::fflush(nullptr);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) return Child::kFailed;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kCannotRun) {
    return Child::kCannot;
  }
  return status == 0 ? Child::kPassed : Child::kFailed;
}

// Without root's capabilities, so that permission bits hold even where the
// tests run as root.
template <typename Body>
Child WithoutPrivileges(Body body) {
  auto drop = [] {
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    return syscall(SYS_capset, &header, none) == 0;
  };
  return InChild(drop, body);
}

// With a file system of our own over `folder`, which only the child sees.
//   type, options   as for mount: "tmpfs", "size=1m"
template <typename Body>
Child OnFileSystem(const char* type, const char* options,
                   const std::string& folder, Body body) {
  mkdir(folder.c_str(), 0755);
  auto mount_it = [&] {
    return unshare(geteuid() == 0 ? CLONE_NEWNS
                                  : CLONE_NEWNS | CLONE_NEWUSER) == 0 &&
           mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           mount(type, folder.c_str(), type, 0, options) == 0;
  };
  return InChild(mount_it, body);
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_CHILD_PROCESS_H_
