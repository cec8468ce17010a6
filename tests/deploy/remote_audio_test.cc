// A lapidaryd without an audio tower and others with it, as processes that are
// killed and stopped; and what it is not started with.
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
using testing::Not;

constexpr char kCandle[] = "tests/goldens/nano/media/candle_en.wav";

std::unique_ptr<Server> Remote(const std::string& peers) {
  return std::make_unique<Server>(
      std::map<std::string, std::string>(),
      std::vector<std::string>{"--audio=remote", "--audio-peers=" + peers});
}

// Speaks for a minute and more, at the speaker's pace.
std::unique_ptr<Program> Speak(const Server& server) {
  std::string pcm;
  for (int times = 0; times < 60; ++times) pcm += ReadBytes(kCandle).substr(44);
  const std::string file = WriteFile("minute.raw", pcm);
  return std::make_unique<Program>(std::vector<std::string>{
      kLapidary, "listen", server.flag(), "--raw=s16", file, "Transcribe."});
}

void WaitForLive(const Server& server, int live) {
  for (;;) {
    const nlohmann::json status =
        LapidaryJson({"status", server.flag(), "--json"});
    if (status["audio"]["live"].get<int>() == live) return;
  }
}

TEST(RemoteAudio, FilesAndLiveSounds_AreHeard_UntilNoNodeIsLeft) {
  Server tower;
  const auto remote = Remote(tower.address());
  const Outcome file =
      Lapidary({"run", remote->flag(), "Transcribe.",
                std::string("--audio=") + kCandle, "--temperature=0"});
  EXPECT_EQ(file.out, "candle\n") << file.err;
  const Outcome live = Lapidary(
      {"listen", remote->flag(), kCandle, "Transcribe.", "--temperature=0"});
  EXPECT_EQ(live.out, "candle\n") << live.err;
  EXPECT_THAT(Lapidary({"status", remote->flag()}).out,
              HasSubstr("encoded 2 sounds; there"));

  const auto speaking = Speak(*remote);
  WaitForLive(tower, 1);
  tower.program().Signal(SIGKILL);
  EXPECT_NE(speaking->Wait(), 0);
  EXPECT_THAT(speaking->err(), HasSubstr(tower.address()));
  EXPECT_THAT(speaking->err(), HasSubstr("begin the turn again"));
  EXPECT_THAT(speaking->err(), Not(HasSubstr("server went away")));
  WaitForLive(*remote, 0);
  const Outcome lost =
      Lapidary({"listen", remote->flag(), kCandle, "Transcribe."});
  EXPECT_NE(lost.code, 0);
  EXPECT_THAT(lost.err, HasSubstr("no node of --audio-peers"));
  EXPECT_THAT(lost.err, Not(HasSubstr("server went away")));
  EXPECT_THAT(Lapidary({"status", remote->flag()}).out, HasSubstr("not there"));
}

TEST(RemoteAudio, AskingNodeKilledOrStopped_ThePeerForgetsItsSound) {
  Server tower;
  for (const int signal : {SIGKILL, SIGSTOP}) {
    const auto remote = Remote(tower.address());
    const auto speaking = Speak(*remote);
    WaitForLive(tower, 1);
    remote->program().Signal(signal);
    WaitForLive(tower, 0);
    remote->program().Signal(SIGKILL);
    EXPECT_NE(speaking->Wait(), 0);
  }
}

TEST(RemoteAudio, FlagsThatDoNotFit_EndTheStart) {
  const struct {
    std::vector<std::string> flags;
    const char* says;
  } wrong[] = {
      {{"--audio=remote"}, "needs --audio-peers=HOST:PORT"},
      {{"--audio=remote", "--audio-peers="}, "--audio-peers: '' is not"},
      {{"--audio=remote", "--audio-peers=a:1,,b:2"}, "--audio-peers: '' is"},
      {{"--audio=remote", "--audio-peers=10.0.0.2"}, "'10.0.0.2' is not"},
      {{"--audio-peers=10.0.0.2:7421"}, "--audio=remote only"},
      {{"--vision=remote", "--vision-peers=b:70000"}, "'b:70000' is not"},
      {{"--vision-peers="}, "--vision=remote only"},
      {{"--media-urls="}, "--media-urls"},
      {{"--max-message=1"}, "--max-message) is 1"},
      {{"--audio=remote", "--audio-peers=b:1,127.0.0.1:7431",
        "--listen=0.0.0.0:7431"},
       "'127.0.0.1:7431' is where this node itself listens"},
      {{"--vision=remote", "--vision-peers=[::1]:7431", "--listen=[::1]:7431"},
       "'[::1]:7431' is where this node itself listens"},
      {{"--media-urls=ftp://a/"}, "--media-urls"},
  };
  for (const auto& [flags, says] : wrong) {
    std::vector<std::string> args = {kLapidaryd, "--model=" + Nano(),
                                     "--listen=127.0.0.1:0"};
    args.insert(args.end(), flags.begin(), flags.end());
    Program program(std::move(args));
    EXPECT_NE(program.Wait(), 0) << flags[0];
    EXPECT_THAT(program.err(), HasSubstr(says)) << flags[0];
  }
}

}  // namespace
}  // namespace lapidary::cli
