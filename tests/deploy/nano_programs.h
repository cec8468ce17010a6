// The bundled model, packed once for a test, and the programs that serve it.
#ifndef LAPIDARY_TESTS_DEPLOY_NANO_PROGRAMS_H_
#define LAPIDARY_TESTS_DEPLOY_NANO_PROGRAMS_H_

#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/deploy/program.h"
#include "tests/support/cgroup.h"

namespace lapidary::cli {

inline constexpr char kLapidary[] = "deploy/lapidary";
inline constexpr char kLapidaryd[] = "deploy/lapidaryd";
inline constexpr char kCheckpoint[] = "deploy/models/nano";

struct Outcome {
  int code = 0;
  std::string out, err;
};

// Runs `lapidary` with `args`.
inline Outcome Lapidary(std::vector<std::string> args,
                        const std::string& input = "") {
  args.insert(args.begin(), kLapidary);
  Program program(std::move(args), input);
  const int code = program.Wait();
  return {code, program.out(), program.err()};
}

// The same, whose output must be one JSON object.
inline nlohmann::json LapidaryJson(const std::vector<std::string>& args) {
  const Outcome outcome = Lapidary(args);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return nlohmann::json::parse(outcome.out, nullptr, false);
}

inline std::string WriteFile(const std::string& name,
                             const std::string& content) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

// The packed model's folder.
inline const std::string& Nano() {
  static const std::string folder = [] {
    const std::string target = testing::TempDir() + "/nano";
    const Outcome packed =
        Lapidary({"pack", kCheckpoint, target, "--dtype=f32"});
    EXPECT_EQ(packed.code, 0) << packed.err;
    return target;
  }();
  return folder;
}

// lapidaryd on a free port of the loopback interface, with all the grace that a
// slow machine may need.
class Server {
 public:
  // With `flags` more, and in `group` if there is one.
  explicit Server(const std::map<std::string, std::string>& environment = {},
                  const std::vector<std::string>& flags = {},
                  const Cgroup* group = nullptr)
      : program_(Command(flags, group), "", environment) {
    const std::string mark = "lapidaryd: listening on ";
    const bool listens = program_.WaitForOutput([&](const std::string& out) {
      const size_t at = out.find(mark);
      const size_t end = out.find('\n', at);
      if (at == std::string::npos || end == std::string::npos) return false;
      address_ = out.substr(at + mark.size(), end - at - mark.size());
      return true;
    });
    EXPECT_TRUE(listens) << program_.err();
  }

  const std::string& address() const { return address_; }
  std::string flag() const { return "--server=" + address_; }
  Program& program() { return program_; }

 private:
  static std::vector<std::string> Command(const std::vector<std::string>& flags,
                                          const Cgroup* group) {
    std::vector<std::string> command = {kLapidaryd, "--model=" + Nano(),
                                        "--listen=127.0.0.1:0", "--grace=10m"};
    command.insert(command.end(), flags.begin(), flags.end());
    return group == nullptr ? command : group->Inside(command);
  }

  Program program_;
  std::string address_;
};

}  // namespace lapidary::cli

#endif  // LAPIDARY_TESTS_DEPLOY_NANO_PROGRAMS_H_
