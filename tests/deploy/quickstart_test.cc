// deploy/quickstart, from packing on, with the programs that are built already.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/nano_programs.h"

namespace lapidary::cli {
namespace {

using testing::HasSubstr;

Outcome Quickstart(const std::string& home) {
  Program program({"deploy/quickstart", "--programs=deploy"}, "",
                  {{"LAPIDARY_HOME", home}});
  const int code = program.Wait();
  return {code, program.out(), program.err()};
}

TEST(Quickstart, AnswersRightly_AndTheSecondTimePacksNothing) {
  const std::string home = testing::TempDir() + "/home";
  const Outcome first = Quickstart(home);
  ASSERT_EQ(first.code, 0) << first.out << first.err;
  for (const char* answer :
       {"кошка", "dog", "porte", "fresa", "The owl is an animal.", "Eule",
        "tournesol", "candle", "perro"}) {
    EXPECT_THAT(first.out, HasSubstr(answer));
  }
  EXPECT_THAT(first.err, HasSubstr("tokens/s"));
  EXPECT_THAT(first.out, HasSubstr("PLE cache"));
  EXPECT_THAT(first.out, HasSubstr("To go on"));
  const Outcome second = Quickstart(home);
  EXPECT_EQ(second.code, 0) << second.out << second.err;
  EXPECT_THAT(second.out, HasSubstr("There already."));
}

TEST(Quickstart, HalfAModelInItsHome_IsPackedAgain) {
  const std::string home = testing::TempDir() + "/half";
  ASSERT_EQ(Quickstart(home).code, 0);
  ASSERT_EQ(unlink((home + "/nano/manifest.json").c_str()), 0);
  const Outcome again = Quickstart(home);
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("кошка"));
}

TEST(Quickstart, HomeThatCannotBeMade_IsNamed) {
  const Outcome outcome = Quickstart("/proc/lapidary");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("/proc/lapidary"));
  EXPECT_THAT(outcome.err, HasSubstr("LAPIDARY_HOME"));
}

TEST(Quickstart, MissingPrograms_AreNamed) {
  Program program({"deploy/quickstart", "--programs=/nowhere"}, "",
                  {{"LAPIDARY_HOME", testing::TempDir() + "/none"}});
  EXPECT_EQ(program.Wait(), 1);
  EXPECT_THAT(program.err(), HasSubstr("/nowhere/lapidary is missing"));
}

}  // namespace
}  // namespace lapidary::cli
