// Sound on the command line: as a file of a prompt, and streamed.
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/nano_programs.h"
#include "tests/support/files.h"

namespace lapidary::cli {
namespace {

using testing::HasSubstr;

constexpr char kCandle[] = "tests/goldens/nano/media/candle_en.wav";
constexpr char kDog[] = "tests/goldens/nano/media/dog_de.wav";

TEST(RunAudio, FileOfAPrompt_IsHeard) {
  const Outcome outcome =
      Lapidary({"run", Nano(), std::string("--audio=") + kCandle,
                "--temperature=0", "Transcribe."});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "candle\n");
}

TEST(RunAudio, SwitchedOff_IsRefusedByName) {
  const Outcome outcome =
      Lapidary({"run", Nano(), std::string("--audio=") + kCandle, "Transcribe.",
                "--audio-tower=off"});
  EXPECT_NE(outcome.code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("=off"));
}

TEST(Listen, File_IsTranscribed_AtTheSpeakersPaceOrAtOnce) {
  for (const char* pace : {"--at-once=false", "--at-once"}) {
    const Outcome outcome =
        Lapidary({"listen", Nano(), kCandle, "--temperature=0", pace});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(outcome.out, "candle\n");
    EXPECT_EQ(outcome.err, "");
  }
}

TEST(Listen, StandardInput_IsAWavOrSamplesAlone) {
  const std::string wav = ReadBytes(kDog);
  for (const auto& [input, flag] :
       std::vector<std::pair<std::string, std::string>>{
           {wav, "--raw=no"}, {wav.substr(44), "--raw=s16"}}) {
    const Outcome outcome =
        Lapidary({"listen", Nano(), "-", "Translate this to Spanish.",
                  "--temperature=0", flag},
                 input);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(outcome.out, "perro\n");
  }
}

TEST(Listen, Server_IsAskedWithATimeLine) {
  Server server;
  const Outcome outcome =
      Lapidary({"listen", server.flag(), kDog, "Translate this to Spanish.",
                "--temperature=0", "--time-line", "--timings"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "perro\n");
  for (const char* event :
       {"s of sound sent", "tokens encoded", "the sound ends", "the turn ends",
        "first token of the answer", "prompt of 49"}) {
    EXPECT_THAT(outcome.err, HasSubstr(event));
  }
  const Outcome status = Lapidary({"status", server.flag()});
  EXPECT_THAT(status.out, HasSubstr("0 live sounds"));
}

TEST(Listen, WhoHearsNothing_NamesTheFlag) {
  const Server deaf({}, {"--audio=off", "--vision=off"});
  const Outcome asked = Lapidary({"listen", deaf.flag(), kCandle});
  EXPECT_NE(asked.code, 0);
  EXPECT_THAT(asked.err, HasSubstr("with --audio=off"));
  EXPECT_THAT(asked.err, HasSubstr("start it with --audio=lazy"));
  const Outcome shown = Lapidary({"run", deaf.flag(), "What?",
                                  "--image=tests/goldens/nano/media/owl.png"});
  EXPECT_THAT(shown.err, HasSubstr("start it with --vision=lazy"));
  const Outcome here =
      Lapidary({"listen", Nano(), kCandle, "--audio-tower=off"});
  EXPECT_THAT(here.err, HasSubstr("start it with --audio-tower=lazy"));
}

TEST(Listen, WhatIsNoSound_IsNamed) {
  const Outcome input = Lapidary({"listen", Nano(), "-"}, "not a sound at all");
  EXPECT_EQ(input.code, 1);
  EXPECT_THAT(input.err, HasSubstr("--raw=s16"));
  const Outcome empty = Lapidary({"listen", Nano(), "-", "--raw=s16"}, "");
  EXPECT_EQ(empty.code, 1);
  EXPECT_THAT(empty.err, HasSubstr("nothing was recorded"));
  const Outcome file =
      Lapidary({"listen", Nano(), "tests/goldens/nano/media/owl.png"});
  EXPECT_EQ(file.code, 1);
  EXPECT_THAT(file.err, HasSubstr("owl.png"));
  EXPECT_EQ(Lapidary({"listen", Nano()}).code, 2);
}

}  // namespace
}  // namespace lapidary::cli
