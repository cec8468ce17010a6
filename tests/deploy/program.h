// Runs the built programs as a user would, and keeps what they print.
//
//   Program run({"deploy/lapidary", "run", model, "Hello"});
//   EXPECT_EQ(run.Wait(), 0);
//   EXPECT_EQ(run.out(), "…\n");
#ifndef LAPIDARY_TESTS_DEPLOY_PROGRAM_H_
#define LAPIDARY_TESTS_DEPLOY_PROGRAM_H_

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary::cli {

class Program {
 public:
  // Starts `command`; its standard input holds `input`. `environment` adds to
  // the test's own.
  explicit Program(std::vector<std::string> command,
                   const std::string& input = "",
                   const std::map<std::string, std::string>& environment = {})
      : base_(testing::TempDir() + "/program" + std::to_string(count_++)) {
    std::ofstream(base_ + ".in") << input;
    std::vector<char*> argv;
    for (std::string& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    for (const auto& [name, value] : environment) {
      setenv(name.c_str(), value.c_str(), 1);
    }
    Redirect(0, ".in", O_RDONLY);
    Redirect(1, ".out", O_WRONLY | O_CREAT | O_TRUNC);
    Redirect(2, ".err", O_WRONLY | O_CREAT | O_TRUNC);
    execv(argv[0], argv.data());
    _exit(127);
  }
  // Ends what is still running.
  ~Program() {
    if (status_ >= 0) return;
    Signal(SIGKILL);
    Wait();
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // The exit code; 128 plus the number of the signal that ended it.
  int Wait() {
    int status = 0;
    if (status_ < 0 && waitpid(pid_, &status, 0) == pid_) {
      status_ =
          WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return status_;
  }

  pid_t pid() const { return pid_; }

  void Signal(int signal) { kill(pid_, signal); }

  std::string out() const { return Read(".out"); }
  std::string err() const { return Read(".err"); }

  // Waits until `done` holds of what has been printed on stdout; false if the
  // program ends before, or after a minute.
  template <typename Predicate>
  bool WaitForOutput(Predicate done) {
    for (int tries = 0; tries < 6000; ++tries) {
      if (done(out())) return true;
      siginfo_t info = {};
      if (waitid(P_PID, pid_, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
          info.si_pid != 0) {
        return done(out());
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

 private:
  void Redirect(int descriptor, const char* suffix, int flags) {
    const int file = open((base_ + suffix).c_str(), flags, 0600);
    if (file < 0 || dup2(file, descriptor) < 0) _exit(126);
  }

  std::string Read(const char* suffix) const {
    std::ifstream file(base_ + suffix, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  static inline int count_ = 0;
  const std::string base_;
  pid_t pid_ = -1;
  int status_ = -1;
};

}  // namespace lapidary::cli

#endif  // LAPIDARY_TESTS_DEPLOY_PROGRAM_H_
