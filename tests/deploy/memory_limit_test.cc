// --memory-limit, and the limit of a control group.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/nano_programs.h"
#include "tests/support/cgroup.h"

namespace lapidary::cli {
namespace {

using testing::HasSubstr;

constexpr char kQuestion[] = "Translate dog to French.";

// Asks the node of this process; few tokens fit into the smallest limit.
Outcome RunWithin(const std::string& limit) {
  return Lapidary(
      {"run", Nano(), kQuestion, "--max-tokens=16", "--memory-limit=" + limit});
}

TEST(MemoryLimit, TooSmall_IsRefusedWithTheSmallestThatWorks) {
  const Outcome refused = RunWithin("10M");
  EXPECT_EQ(refused.code, 1);
  const std::string words = "the smallest that works with this model is ";
  const size_t at = refused.err.find(words);
  ASSERT_NE(at, std::string::npos) << refused.err;
  const uint64_t smallest = std::stoull(refused.err.substr(at + words.size()));
  const Outcome works = RunWithin(std::to_string(smallest));
  EXPECT_EQ(works.out, "chien\n") << works.err;
  EXPECT_EQ(RunWithin(std::to_string(smallest - 1)).code, 1);
}

TEST(MemoryLimit, WhatIsNoSize_IsAUsageError) {
  for (const char* bad : {"much", "0"}) {
    const Outcome outcome = RunWithin(bad);
    EXPECT_EQ(outcome.code, 2) << bad;
    EXPECT_THAT(outcome.err, HasSubstr("want a size")) << bad;
  }
}

TEST(MemoryLimit, OfAControlGroup_IsTakenAndHolds) {
  constexpr uint64_t kLimit = uint64_t{112} << 20;
  const std::unique_ptr<Cgroup> group = Cgroup::Make(kLimit);
  if (group == nullptr) {
    GTEST_SKIP() << "no control group can be made here: nothing was run under "
                    "a limit";
  }
  Nano();  // packed outside
  Server server(/*environment=*/{}, /*flags=*/{}, group.get());
  const nlohmann::json plan =
      LapidaryJson({"status", server.flag(), "--json"})["memory"]["plan"];
  EXPECT_EQ(plan["limit"], kLimit - kLimit / 32);
  EXPECT_THAT(Lapidary({"status", server.flag()}).out, HasSubstr("limit"));
  // More at once than there is room for.
  std::vector<std::unique_ptr<Program>> asked;
  for (int i = 0; i < 24; ++i) {
    asked.push_back(std::make_unique<Program>(std::vector<std::string>{
        kLapidary, "run", server.flag(), "Tell me about the owl."}));
  }
  for (auto& program : asked) {
    EXPECT_EQ(program->Wait(), 0) << program->err();
    EXPECT_THAT(program->out(), HasSubstr("The owl is an animal."));
  }
  std::printf("a group of %.0f MB held at most %.1f MB\n", kLimit / 1e6,
              group->Peak() / 1e6);
  server.program().Signal(SIGTERM);
  EXPECT_EQ(server.program().Wait(), 0) << "it was killed";
}

}  // namespace
}  // namespace lapidary::cli
