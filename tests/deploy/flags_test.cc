#include "deploy/cli/flags.h"

#include <string>
#include <utility>
#include <vector>

#include "deploy/cli/priority_flag.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lapidary::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Values {
  std::string listen = "here";
  std::vector<std::string> stops;
  std::optional<std::string> system;
  std::optional<int64_t> top_k;
  std::optional<float> temperature;
  std::optional<uint64_t> seed;
  size_t memory = size_t{64} << 20;
  absl::Duration grace = absl::Seconds(5);
  std::string dtype = "f32";
  bool json = false;

  void Define(FlagSet* flags) {
    flags->Text("listen", "HOST:PORT", "Where to listen.", &listen);
    flags->Texts("stop", "TEXT", "Ends the answer.", &stops);
    flags->OptionalText("system", "TEXT", "Instructions.", &system);
    flags->OptionalInteger("top-k", "Most probable.", 0, 100, &top_k);
    flags->Number("temperature", "Randomness.", &temperature);
    flags->Unsigned("seed", "Seed.", &seed);
    flags->Bytes("memory", "Memory.", &memory);
    flags->Duration("grace", "Grace.", &grace);
    flags->Choice("dtype", {"f32", "bf16"}, "Type.", &dtype);
    flags->Switch("json", "JSON.", &json);
  }
};

class FlagsTest : public testing::Test {
 protected:
  FlagsTest() { values_.Define(&flags_); }

  absl::Status ErrorOf(const std::vector<std::string>& args) {
    return flags_.Parse(args).status();
  }

  Values values_;
  FlagSet flags_;
};

TEST_F(FlagsTest, ValueAfterEqualsOrAsNextArgument_IsTheSame) {
  ASSERT_TRUE(flags_.Parse({"--listen=a:1"}).ok());
  EXPECT_EQ(values_.listen, "a:1");
  ASSERT_TRUE(flags_.Parse({"--listen", "b:2"}).ok());
  EXPECT_EQ(values_.listen, "b:2");
}

TEST_F(FlagsTest, AllTypes_AreRead) {
  auto arguments =
      flags_.Parse({"model", "--stop=a", "--stop=b=c",
                    "--system=", "--top-k=40", "--temperature", "-0.5",
                    "--seed=18446744073709551615", "--memory=1.5", "question"});
  EXPECT_THAT(arguments.status().message(), HasSubstr("--memory"));
  arguments = flags_.Parse(
      {"model", "--stop=a", "--stop=b=c", "--system=", "--top-k=40",
       "--temperature", "-0.5", "--seed=18446744073709551615", "--memory=2G",
       "--grace=1m", "--dtype=bf16", "question", "--json"});
  ASSERT_TRUE(arguments.ok()) << arguments.status();
  EXPECT_THAT(*arguments, ElementsAre("model", "question"));
  EXPECT_EQ(values_.system, "");
  EXPECT_EQ(values_.top_k, 40);
  EXPECT_EQ(values_.temperature, -0.5f);
  EXPECT_EQ(values_.seed, 18446744073709551615u);
  EXPECT_EQ(values_.memory, size_t{2} << 30);
  EXPECT_EQ(values_.grace, absl::Minutes(1));
  EXPECT_EQ(values_.dtype, "bf16");
  EXPECT_TRUE(values_.json);
}

TEST_F(FlagsTest, Switch_TakesNoArgumentButAValue) {
  auto arguments = flags_.Parse({"--json", "model"});
  ASSERT_TRUE(arguments.ok());
  EXPECT_THAT(*arguments, ElementsAre("model"));
  EXPECT_TRUE(values_.json);
  ASSERT_TRUE(flags_.Parse({"--json=false"}).ok());
  EXPECT_FALSE(values_.json);
}

TEST_F(FlagsTest, AfterTwoDashes_NothingIsAFlag) {
  auto arguments = flags_.Parse({"--", "--json", "-1"});
  ASSERT_TRUE(arguments.ok());
  EXPECT_THAT(*arguments, ElementsAre("--json", "-1"));
}

TEST_F(FlagsTest, UnknownFlag_NamesTheNearest) {
  absl::Status error = ErrorOf({"--temprature=1"});
  EXPECT_TRUE(IsUsageError(error));
  EXPECT_THAT(error.message(), HasSubstr("--temprature"));
  EXPECT_THAT(error.message(), HasSubstr("did you mean --temperature?"));
}

TEST_F(FlagsTest, UnknownFlagFarFromAll_NamesNone) {
  absl::Status error = ErrorOf({"--xylophone"});
  EXPECT_THAT(error.message(), HasSubstr("--xylophone"));
  EXPECT_THAT(error.message(), testing::Not(HasSubstr("did you mean")));
}

TEST_F(FlagsTest, BadValues_NameTheFlagTheValueAndWhatIsWanted) {
  const std::vector<std::vector<std::string>> cases = {
      {"--top-k=abc", "abc", "from 0 to 100"},
      {"--top-k=101", "101", "from 0 to 100"},
      {"--temperature=warm", "warm", "a number"},
      {"--seed=-1", "-1", "at least 0"},
      {"--memory=lots", "lots", "512M"},
      {"--memory=99999999999999G", "99999999999999G", "512M"},
      {"--grace=-1s", "-1s", "duration"},
      {"--dtype=int4", "int4", "f32, bf16"},
      {"--json=maybe", "maybe", "true or false"},
      {"--listen", "--listen", "needs a value"},
      {"-j", "-j", "two dashes"},
  };
  for (const std::vector<std::string>& each : cases) {
    absl::Status error = ErrorOf({each[0]});
    EXPECT_TRUE(IsUsageError(error)) << each[0];
    EXPECT_THAT(error.message(), HasSubstr(each[1]));
    EXPECT_THAT(error.message(), HasSubstr(each[2]));
  }
}

TEST_F(FlagsTest, Help_ShowsEveryFlagWithItsDefaultIn80Columns) {
  FlagSet flags;
  Values values;
  flags.Section("Words");
  values.Define(&flags);
  const std::string long_help(40, 'w');
  flags.Text("long", "X", long_help + " " + long_help + " " + long_help,
             &values.listen);
  const std::string help = flags.Help();
  EXPECT_THAT(help, HasSubstr("Words:"));
  EXPECT_THAT(help, HasSubstr("--listen=HOST:PORT"));
  EXPECT_THAT(help, HasSubstr("Default: here."));
  EXPECT_THAT(help, HasSubstr("Default: 64M."));
  EXPECT_THAT(help, HasSubstr("\nSIZE is a number of bytes"));
  EXPECT_THAT(help, HasSubstr("\nTIME is a duration"));
  size_t column = 0;
  for (const char c : help) {
    column = c == '\n' ? 0 : column + 1;
    ASSERT_LE(column, 80u);
  }
}

TEST_F(FlagsTest, Help_ShowsHowASwitchThatIsOnIsTurnedOff) {
  FlagSet flags;
  bool on = true;
  bool off = false;
  flags.Switch("bos", "Put it in front.", &on);
  flags.Switch("json", "JSON.", &off);
  EXPECT_THAT(flags.Help(), HasSubstr("  --bos=true|false\n"));
  EXPECT_THAT(flags.Help(), HasSubstr("  --json\n"));
  EXPECT_THAT(flags.Help(), testing::Not(HasSubstr("SIZE")));
}

TEST(PriorityFlag, EachWord_IsItsPriority) {
  EXPECT_EQ(PriorityFlag().value(), v1::PRIORITY_NORMAL);
  for (const auto& [word, priority] : {std::pair("low", v1::PRIORITY_LOW),
                                       std::pair("normal", v1::PRIORITY_NORMAL),
                                       std::pair("high", v1::PRIORITY_HIGH)}) {
    PriorityFlag flag;
    FlagSet flags;
    flag.Define(&flags);
    ASSERT_TRUE(flags.Parse({"--priority", word}).ok());
    EXPECT_EQ(flag.value(), priority);
  }
}

TEST(ParseBytes, PowersOf1024) {
  EXPECT_EQ(*ParseBytes("4096"), 4096u);
  EXPECT_EQ(*ParseBytes("3k"), 3072u);
  EXPECT_EQ(*ParseBytes("512M"), size_t{512} << 20);
  EXPECT_EQ(*ParseBytes("2GiB"), size_t{2} << 30);
  EXPECT_FALSE(ParseBytes("-1").ok());
  EXPECT_FALSE(ParseBytes("").ok());
}

}  // namespace
}  // namespace lapidary::cli
