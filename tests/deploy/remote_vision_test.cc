// A lapidaryd without a tower and others with it, as processes that are killed.
#include <csignal>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/deploy/nano_programs.h"
#include "tests/support/files.h"

namespace lapidary::cli {
namespace {

using testing::HasSubstr;

constexpr char kOwl[] = "tests/goldens/nano/media/owl.png";

std::unique_ptr<Server> Remote(const std::string& peers) {
  return std::make_unique<Server>(
      std::map<std::string, std::string>(),
      std::vector<std::string>{"--vision=remote", "--vision-peers=" + peers});
}

// Asks about as many pictures, none of which is known.
std::vector<std::unique_ptr<Program>> AskMany(const Server& server, int count) {
  std::vector<std::unique_ptr<Program>> asked;
  for (int i = 0; i < count; ++i) {
    const std::string picture = WriteFile("owl" + std::to_string(i) + ".png",
                                          ReadBytes(kOwl) + std::to_string(i));
    asked.push_back(std::make_unique<Program>(
        std::vector<std::string>{kLapidary, "run", server.flag(),
                                 "What is this?", "--image=" + picture}));
  }
  return asked;
}

void WaitForImages(const Server& server, int images) {
  for (;;) {
    const nlohmann::json status =
        LapidaryJson({"status", server.flag(), "--json"});
    if (status["vision"]["images"].get<int>() >= images) return;
  }
}

TEST(RemoteVision, NodeKilledMidway_AnotherEncodes_AndWithoutOneItIsSaid) {
  auto first = std::make_unique<Server>();
  Server second;
  const auto remote = Remote(first->address() + "," + second.address());
  auto asked = AskMany(*remote, 12);
  WaitForImages(*remote, 1);
  first->program().Signal(SIGKILL);
  for (auto& program : asked) {
    EXPECT_EQ(program->Wait(), 0) << program->err();
    EXPECT_EQ(program->out(), "owl\n");
  }
  second.program().Signal(SIGKILL);
  second.program().Wait();
  const std::string other = WriteFile("other.png", ReadBytes(kOwl) + "other");
  const Outcome lost =
      Lapidary({"run", remote->flag(), "What is this?", "--image=" + other});
  EXPECT_EQ(lost.code, 1);
  EXPECT_THAT(lost.err, HasSubstr("no node of --vision-peers"));
  EXPECT_THAT(lost.err, HasSubstr(second.address()));
  const Outcome status = Lapidary({"status", remote->flag()});
  EXPECT_THAT(status.out, HasSubstr("not there"));
}

}  // namespace
}  // namespace lapidary::cli
