// Sounds of a node without a tower, files and live ones, encoded by other nodes
// over TCP.
#include "tests/actors/remote_audio.h"

#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/actors/media_cases.h"
#include "tests/actors/nano_node.h"
#include "tests/actors/talk.h"

namespace lapidary {
namespace {

using testing::HasSubstr;
using Code = grpc::StatusCode;

// --- Files ------------------------------------------------------------------

TEST(RemoteAudioTest, AnswersAreThoseOfANodeWithTheTower) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  for (const MediaCase& c : SoundCases()) {
    const Answer local = Generate(*tower.stub, AskGreedily(c.chat, 6));
    const Answer answer = Generate(*remote.stub, AskGreedily(c.chat, 6));
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    ASSERT_EQ(answer.ids(), local.ids());
    for (size_t t = 0; t < local.tokens.size(); ++t) {
      EXPECT_EQ(answer.tokens[t].logprob(), local.tokens[t].logprob());
    }
  }
  const v1::AudioTower audio = GetStatus(*remote.stub).audio();
  EXPECT_FALSE(audio.loaded());
  EXPECT_GT(audio.sounds(), 0u);
  EXPECT_GT(audio.sound_seconds(), 0);
  ASSERT_EQ(audio.peers_size(), 1);
  EXPECT_TRUE(audio.peers(0).alive());
  EXPECT_EQ(audio.peers(0).sounds(), audio.sounds());
  EXPECT_EQ(Heard(*remote.stub, Candle()), "candle");
  EXPECT_EQ(GetStatus(*remote.stub).audio().sounds(), audio.sounds())
      << "known files are not asked for";
}

TEST(RemoteAudioTest, SeveralFilesAndWindows_AreTheSameToTheBit) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  const std::string file = LongWav();
  EXPECT_EQ(SoftTokensOf(*remote.stub, file), SoftTokensOf(*tower.stub, file));
  const v1::GenerateRequest request = AskSounds(
      {Candle(), file, Medium("dog_de.wav"), Candle(1)}, "Transcribe.");
  const Answer local = Generate(*tower.stub, request);
  const Answer answer = Generate(*remote.stub, request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  ASSERT_EQ(answer.ids(), local.ids());
  EXPECT_EQ(answer.final.usage().prompt_tokens(),
            local.final.usage().prompt_tokens());
  for (size_t t = 0; t < local.tokens.size(); ++t) {
    EXPECT_EQ(answer.tokens[t].logprob(), local.tokens[t].logprob());
  }
}

TEST(RemoteAudioTest, DamagedSounds_AreNamedAsOnTheNodeWithTheTower) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  for (const std::string& bad :
       {Candle().substr(0, 900), std::string("none")}) {
    const v1::GenerateRequest request = AskSounds({bad}, "Transcribe.");
    const Answer local = Generate(*tower.stub, request);
    const Answer answer = Generate(*remote.stub, request);
    EXPECT_EQ(answer.status.error_code(), Code::INVALID_ARGUMENT);
    EXPECT_EQ(answer.status.error_message(), local.status.error_message());
  }
}

TEST(RemoteAudioTest, WithoutANodeThatHoldsTheTower_TheErrorNamesEach) {
  NodeOptions off = TowerOptions();
  off.audio.mode = AudioOptions::Mode::kOff;
  const Served without(off);
  const Served remote_too(RemoteOptions({"127.0.0.1:1"}));
  const Served remote(
      RemoteOptions({"127.0.0.1:1", without.address(), remote_too.address()}));
  Talk talk(remote);
  talk.Pcm(PcmOf(Candle()));
  const grpc::Status live = talk.Finish();
  const Answer answer =
      Generate(*remote.stub, AskSounds({Candle()}, "Transcribe."));
  EXPECT_THAT(answer.status.error_message(),
              HasSubstr("prompt.chat.messages[0].parts[0].audio"));
  for (const grpc::Status& status : {live, answer.status}) {
    EXPECT_EQ(status.error_code(), Code::UNAVAILABLE);
    for (const std::string& part :
         {std::string("127.0.0.1:1: "),
          absl::StrCat(without.address(),
                       ": this node was started with --audio=off"),
          absl::StrCat(remote_too.address(), ": this node holds no tower"),
          std::string("--audio=lazy"), std::string("--audio-peers")}) {
      EXPECT_THAT(status.error_message(), HasSubstr(part));
    }
  }
  EXPECT_TRUE(NothingLive(remote));
}

TEST(RemoteAudioTest, NodeOfAnotherPacking_IsNotBelieved) {
  NodeOptions other = TowerOptions();
  other.model_folder = PackedNano(kernels::DType::kBf16);
  const Served tower(other);
  const Served remote(RemoteOptions({tower.address()}));
  EXPECT_THAT(Heard(*remote.stub, Candle()), HasSubstr("another packing"));
  Talk talk(remote);
  talk.Pcm(PcmOf(Candle()));
  EXPECT_THAT(talk.Finish().error_message(), HasSubstr("another packing"));
}

TEST(RemoteAudioTest, NodeLostMidway_FilesGoToAnother) {
  Served first(TowerOptions());
  const Served second(TowerOptions());
  const Served remote(RemoteOptions({first.address(), second.address()}));
  std::vector<std::future<std::string>> asked;
  for (int i = 0; i < 24; ++i) {
    asked.push_back(std::async(std::launch::async, [&remote, i] {
      return Heard(*remote.stub, Candle(i));
    }));
  }
  EXPECT_TRUE(WaitFor(*first.stub, [](const v1::StatusResponse& status) {
    return status.audio().sounds() > 0 && status.audio().waiting() > 1;
  }));
  first.node->Shutdown(absl::ZeroDuration());
  for (auto& answer : asked) EXPECT_EQ(answer.get(), "candle");
}

TEST(RemoteAudioTest, FilesThatNobodyWaitsFor_AreGivenUpThere) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  std::vector<std::future<Answer>> asked;
  for (int i = 0; i < 40; ++i) {
    asked.push_back(std::async(std::launch::async, [&remote, i] {
      return Generate(*remote.stub, AskSounds({Candle(i)}, "Transcribe."),
                      nullptr, /*deadline_ms=*/60);
    }));
  }
  for (auto& answer : asked) answer.get();
  for (Stub* stub : {remote.stub.get(), tower.stub.get()}) {
    EXPECT_TRUE(WaitFor(*stub, [](const v1::StatusResponse& status) {
      return status.has_audio() && status.audio().waiting() == 0;
    }));
  }
  EXPECT_LT(GetStatus(*tower.stub).audio().sounds(), 40u);
}

// --- Live sounds ------------------------------------------------------------

TEST(RemoteAudioTest, LiveSound_IsAnsweredAsByANodeWithTheTower) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  v1::ConverseStart start = Greedy();
  start.mutable_request()->set_ignore_eos(true);
  for (const std::string& file : {Candle(), LongWav()}) {
    Talk local(tower, start);
    local.PcmInPieces(PcmOf(file), 3200);
    local.Text("Transcribe.");
    local.EndOfTurn();
    ASSERT_TRUE(local.ReadTurn()) << local.Finish().error_message();
    for (const size_t bytes : {777, 40000}) {
      Talk talk(remote, start);
      talk.PcmInPieces(PcmOf(file), bytes);
      talk.Text("Transcribe.");
      talk.EndOfTurn();
      ASSERT_TRUE(talk.ReadTurn()) << talk.Finish().error_message();
      EXPECT_EQ(talk.ids, local.ids);
      EXPECT_EQ(talk.logprobs, local.logprobs);
      EXPECT_EQ(talk.done.sound_tokens(), local.done.sound_tokens());
      EXPECT_EQ(talk.done.sound_seconds(), local.done.sound_seconds());
      EXPECT_EQ(talk.progress.back().tokens(), talk.done.sound_tokens());
      EXPECT_TRUE(talk.Finish().ok());
    }
  }
  EXPECT_TRUE(NothingLive(tower));
  EXPECT_TRUE(NothingLive(remote));
  EXPECT_EQ(GetStatus(*remote.stub).audio().peers(0).sounds(), 4u);
}

TEST(RemoteAudioTest, ManyLiveSounds_AreEachAnsweredAsAlone) {
  const Served first(TowerOptions());
  const Served second(TowerOptions());
  const Served remote(RemoteOptions({first.address(), second.address()}));
  std::vector<std::thread> talkers;
  for (int i = 0; i < 8; ++i) {
    talkers.emplace_back([&, i] {
      Talk talk(remote);
      talk.PcmInPieces(PcmOf(Candle()), 1600 + 100 * i);
      talk.Text("Transcribe.");
      EXPECT_EQ(talk.Answer(), "candle");
    });
  }
  for (std::thread& talker : talkers) talker.join();
  EXPECT_TRUE(NothingLive(remote));
  const v1::AudioTower audio = GetStatus(*remote.stub).audio();
  EXPECT_EQ(audio.peers(0).sounds() + audio.peers(1).sounds(), 8u);
}

TEST(RemoteAudioTest, SilenceEndsTurns_IfAskedTo) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  v1::ConverseStart start = Greedy();
  start.mutable_endpointing()->set_silence_ms(300);
  Talk talk(remote, start);
  talk.Text("Transcribe.");
  talk.PcmInPieces(PcmOf(Candle()), 3200);
  talk.PcmInPieces(std::string(16000, '\0'), 3200);
  ASSERT_TRUE(talk.ReadTurn()) << talk.Finish().error_message();
  EXPECT_EQ(talk.text, "candle");
}

TEST(RemoteAudioTest, BadLiveSound_IsNamed) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  {
    Talk talk(remote);  // ends within a sample
    talk.Pcm(std::string(3201, '\1'));
    talk.Text("Transcribe.");
    EXPECT_EQ(talk.Finish().error_code(), Code::INVALID_ARGUMENT);
  }
  for (const int rate : {100, 1000000}) {
    v1::ConverseStart start = Greedy();
    start.mutable_pcm()->set_rate(rate);
    Talk talk(remote, start);
    talk.Pcm(std::string(3200, '\1'));
    EXPECT_EQ(talk.Finish().error_code(), Code::INVALID_ARGUMENT) << rate;
  }
  EXPECT_TRUE(NothingLive(tower));
  EXPECT_TRUE(NothingLive(remote));
}

// The client sends a minute at once; the peer takes four seconds of it at a
// time, and a piece.
TEST(RemoteAudioTest, ClientWaits_WhereThePeerIsBehind) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  Talk talk(remote);
  std::thread writer([&] {
    talk.PcmInPieces(std::string(size_t{60} * 32000, '\0'), 32000);
    talk.Text("Transcribe.");
    talk.EndOfTurn();
  });
  double most = 0;
  EXPECT_TRUE(WaitFor(*tower.stub, [&most](const v1::StatusResponse& status) {
    most = std::max(most, status.audio().live_waiting_seconds());
    return status.audio().sound_seconds() > 59;
  }));
  writer.join();
  EXPECT_LE(most, 5.1);
  EXPECT_TRUE(talk.ReadTurn());
  EXPECT_TRUE(talk.Finish().ok());
}

TEST(RemoteAudioTest, NodeLostMidway_LiveTurnEndsAsUnavailable) {
  for (const bool sends : {true, false}) {
    Served first(TowerOptions());
    Served second(TowerOptions());
    const Served remote(RemoteOptions({first.address(), second.address()}));
    Talk talk(remote);
    talk.Pcm(PcmOf(Candle()));
    const Served* holder = nullptr;
    ASSERT_TRUE(WaitFor(*first.stub, [&](const v1::StatusResponse& status) {
      if (status.audio().live() == 1) holder = &first;
      if (GetStatus(*second.stub).audio().live() == 1) holder = &second;
      return holder != nullptr;
    }));
    holder->node->Shutdown(absl::ZeroDuration());
    if (sends) talk.Pcm(PcmOf(Candle()));
    talk.Text("Transcribe.");
    talk.EndOfTurn();
    EXPECT_FALSE(talk.ReadTurn());
    const grpc::Status status = talk.Finish();
    EXPECT_EQ(status.error_code(), Code::UNAVAILABLE) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr("begin the turn again"));
    EXPECT_THAT(status.error_message(), HasSubstr("127.0.0.1:"));
    EXPECT_TRUE(NothingLive(remote));
    Talk again(remote);
    again.Pcm(PcmOf(Candle()));
    again.Text("Transcribe.");
    EXPECT_EQ(again.Answer(), "candle");
  }
}

TEST(RemoteAudioTest, ActorOfThePeerLost_LiveTurnEndsAsUnavailable) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  Talk talk(remote);
  talk.Pcm(PcmOf(Candle()));
  ASSERT_TRUE(OneLive(tower));
  ASSERT_TRUE(tower.node->KillRole("audio").ok());
  talk.Text("Transcribe.");
  talk.EndOfTurn();
  EXPECT_FALSE(talk.ReadTurn());
  EXPECT_EQ(talk.Finish().error_code(), Code::UNAVAILABLE);
}

TEST(RemoteAudioTest, WhoeverVanishes_ThePeerForgetsTheSound) {
  const Served tower(TowerOptions());
  {
    Served remote(RemoteOptions({tower.address()}));
    Talk client(remote);  // the client
    client.Pcm(PcmOf(Candle()));
    ASSERT_TRUE(OneLive(tower));
    client.Vanish();
    EXPECT_TRUE(NothingLive(tower));
    EXPECT_TRUE(NothingLive(remote));
    Talk cancelled(remote);  // the turn
    cancelled.Pcm(PcmOf(Candle()));
    ASSERT_TRUE(OneLive(tower));
    cancelled.Cancel();
    ASSERT_TRUE(cancelled.ReadTurn());
    EXPECT_TRUE(NothingLive(tower));
    Talk actor(remote);  // the asking actor
    actor.Pcm(PcmOf(Candle()));
    ASSERT_TRUE(OneLive(tower));
    ASSERT_TRUE(remote.node->KillRole("audio").ok());
    EXPECT_TRUE(NothingLive(tower));
    actor.Text("Transcribe.");
    actor.EndOfTurn();
    EXPECT_FALSE(actor.ReadTurn());
    EXPECT_EQ(actor.Finish().error_code(), Code::UNAVAILABLE);
  }
  Served remote(RemoteOptions({tower.address()}));
  Talk node(remote);  // the asking node
  node.Pcm(PcmOf(Candle()));
  ASSERT_TRUE(OneLive(tower));
  remote.node->Shutdown(absl::ZeroDuration());
  EXPECT_TRUE(NothingLive(tower));
}

TEST(RemoteAudioTest, ModeAndPeers_AreCheckedAtTheStart) {
  EXPECT_THAT(Node::Start(RemoteOptions({})).status().message(),
              HasSubstr("--audio-peers"));
  EXPECT_THAT(Node::Start(RemoteOptions({"nowhere"})).status().message(),
              HasSubstr("'nowhere' is not HOST:PORT"));
  NodeOptions local = NanoOptions();
  local.audio.peers = {"127.0.0.1:1"};
  EXPECT_THAT(Node::Start(local).status().message(),
              HasSubstr("--audio=remote"));
}

}  // namespace
}  // namespace lapidary
