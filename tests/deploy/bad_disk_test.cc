// A node whose disk fails or hangs under the PLE table: who needs the disk is
// told or waits; who does not is answered.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/nano_programs.h"

namespace lapidary::cli {
namespace {

using testing::HasSubstr;

const char* const kCached = "Translate dog to French.";
const char* const kOther = "Tell me about the rocket.";
const char* const kAboutTheRocket =
    "The rocket is a vehicle. In German it is Rakete, in French fusée, in "
    "Spanish cohete and in Russian ракета.\n";

class BadDiskTest : public testing::Test {
 protected:
  BadDiskTest()
      : control_(testing::TempDir() + "/bad_disk"),
        server_({{"LD_PRELOAD",
                  std::filesystem::absolute("tests/support/libbad_disk.so")},
                 {"BAD_DISK", control_}}) {
    Disk("");
    std::filesystem::remove(control_ + ".hangs");  // of an earlier test
    // Its rows, and those of its answer, are in the cache from here on.
    EXPECT_EQ(Ask(kCached).out, "chien\n");
  }

  void Disk(const std::string& does) {
    std::ofstream(control_ + ".new") << does;
    std::filesystem::rename(control_ + ".new", control_);
  }

  Outcome Ask(const std::string& question) {
    return Lapidary({"run", server_.flag(), question});
  }

  // The disk hangs under the other question, and comes back.
  void HangUnderTheOther() {
    Disk("hang");
    Program waiting({kLapidary, "run", server_.flag(), kOther});
    while (!std::filesystem::exists(control_ + ".hangs")) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    // Answered while the other waits: it would wait for ever.
    EXPECT_EQ(Ask(kCached).out, "chien\n");
    Disk("");
    EXPECT_EQ(waiting.Wait(), 0) << waiting.err();  // it was not given up
    EXPECT_EQ(waiting.out(), kAboutTheRocket);
  }

  const std::string control_;
  Server server_;
};

TEST_F(BadDiskTest, Failing_FailsWhoNeedsIt_AndNobodyElse) {
  Disk("eio");
  const Outcome failed = Ask(kOther);
  EXPECT_EQ(failed.code, 1);
  EXPECT_THAT(failed.err, HasSubstr("Input/output error"));
  EXPECT_THAT(failed.err, HasSubstr("the disk fails"));
  EXPECT_EQ(Ask(kCached).out, "chien\n");
  // It lost nothing by it.
  Disk("");
  EXPECT_EQ(Ask(kOther).out, kAboutTheRocket);
  const nlohmann::json status =
      LapidaryJson({"status", server_.flag(), "--json"});
  EXPECT_THAT(status.dump(), testing::Not(HasSubstr("\"restarts\":1")));
}

TEST_F(BadDiskTest, Hanging_HoldsUpOnlyWhoNeedsIt) { HangUnderTheOther(); }

TEST_F(BadDiskTest, HangingUnderAnAnswer_HoldsUpThatAnswerOnly) {
  // The prompt's rows are in the cache, the answer's are not.
  EXPECT_EQ(Lapidary({"run", server_.flag(), "--max-tokens=1", kOther}).code,
            0);
  HangUnderTheOther();
}

}  // namespace
}  // namespace lapidary::cli
