// Sounds of a node without a tower, files and live ones, encoded by other nodes
// over TCP.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/messages_wire.h"
#include "actors/peer_channel.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/lapidary/internal/peer.grpc.pb.h"
#include "tests/actors/liar.h"
#include "tests/actors/media_cases.h"
#include "tests/actors/nano_node.h"
#include "tests/actors/talk.h"

namespace lapidary {
namespace {

using testing::HasSubstr;
using Code = grpc::StatusCode;

// A node that holds the tower, on a port.
NodeOptions TowerOptions() {
  NodeOptions options = NanoOptions();
  options.listen_address = "127.0.0.1:0";
  return options;
}

NodeOptions RemoteOptions(const std::vector<std::string>& peers) {
  NodeOptions options = TowerOptions();
  options.audio.mode = AudioOptions::Mode::kRemote;
  options.audio.peers = peers;
  return options;
}

struct Served {
  std::unique_ptr<Node> node;
  std::unique_ptr<Stub> stub;

  explicit Served(const NodeOptions& options)
      : node(StartNode(options)),
        stub(v1::Lapidary::NewStub(grpc::CreateChannel(
            address(), grpc::InsecureChannelCredentials()))) {}
  std::string address() const {
    return absl::StrCat("127.0.0.1:", node->port());
  }
};

std::string Candle() { return Medium("candle_en.wav"); }

// The same word in another file.
std::string Candle(int number) {
  return absl::StrCat(Candle(), "LIST", std::string("\4\0\0\0", 4),
                      absl::StrCat(1000 + number));
}

// Of several windows: nano hears 5.1 s at once.
std::string LongWav() {
  std::string pcm;
  for (int repeats = 0; repeats < 8; ++repeats) {
    pcm += PcmOf(Candle()) + std::string(8000, '\0');
  }
  std::vector<int16_t> samples(pcm.size() / sizeof(int16_t));
  std::copy_n(pcm.data(), samples.size() * sizeof(int16_t),
              reinterpret_cast<char*>(samples.data()));
  return Wav(samples, 16000, 1);
}

std::string SoftTokensOf(Stub& stub, const std::string& file) {
  grpc::ClientContext context;
  v1::EncodeMediaRequest request;
  request.mutable_audio()->set_data(file);
  v1::EncodeMediaResponse response;
  const grpc::Status status = stub.EncodeMedia(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.soft_tokens().values();
}

bool NothingLive(const Served& served) {
  return WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.has_audio() && status.audio().live() == 0;
  });
}

bool OneLive(const Served& served) {
  return WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.audio().live() == 1;
  });
}

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

// --- Askers that mean harm --------------------------------------------------

// The asking side of a live sound, by hand; never says that it is alive.
class Asker {
 public:
  explicit Asker(const std::string& address) : channel_(address, 1 << 26) {
    talk_ = channel_.Hear([this](absl::StatusOr<WireMessage> answer) {
      std::lock_guard<std::mutex> lock(mutex_);
      answers_.push_back(std::move(answer));
      came_.notify_all();
    });
  }

  absl::StatusOr<WireMessage> Ask(const WireMessage& question) {
    talk_->Ask(question);
    return Next();
  }
  absl::StatusOr<WireMessage> Next() {
    std::unique_lock<std::mutex> lock(mutex_);
    came_.wait(lock, [this] { return answers_.size() > taken_; });
    return answers_[taken_++];
  }
  // Waits for the end.
  absl::Status End() {
    for (;;) {
      if (auto answer = Next(); !answer.ok()) return answer.status();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<absl::StatusOr<WireMessage>> answers_;
  size_t taken_ = 0;
  PeerChannel channel_;  // ends before what it answers to
  std::shared_ptr<PeerTalk> talk_;
};

std::string TowerName(const std::string& address) {
  PeerChannel channel(address, 1 << 20);
  std::promise<std::string> name;
  channel.Ask(StatusQuery{"audio"}, absl::Seconds(10),
              [&name](absl::StatusOr<WireMessage> answer) {
                const auto* status =
                    answer.ok() ? std::get_if<AudioStatus>(&*answer) : nullptr;
                name.set_value(status != nullptr ? status->tower : "");
              });
  return name.get_future().get();
}

OpenSound Open(const std::string& tower) {
  OpenSound open;
  open.tower = tower;
  return open;
}

bool IsTaken(const absl::StatusOr<WireMessage>& answer) {
  const auto* taken = answer.ok() ? std::get_if<SoundTaken>(&*answer) : nullptr;
  return taken != nullptr && taken->status.ok();
}

PushSound Pcm(const std::string& pcm) {
  return {77, std::make_shared<const std::string>(pcm)};
}

TEST(RemoteAudioTest, AskersOutOfOrder_AreRefused_AndTheirSoundsGo) {
  const Served tower(TowerOptions());
  const std::string name = TowerName(tower.address());
  ASSERT_FALSE(name.empty());
  for (const WireMessage& first :
       {WireMessage(Pcm("1234")), WireMessage(EndSound{1}),
        WireMessage(Open("")), WireMessage(StatusQuery{"audio"})}) {
    Asker asker(tower.address());
    EXPECT_EQ(asker.Ask(first).status().code(),
              absl::StatusCode::kInvalidArgument)
        << first.index();
  }
  {
    Asker asker(tower.address());
    ASSERT_TRUE(IsTaken(asker.Ask(Open(name))));
    EXPECT_EQ(asker.Ask(Open(name)).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  {
    Asker asker(tower.address());
    OpenSound strange = Open(name);
    strange.format.rate = -5;
    strange.format.channels = -1;
    EXPECT_FALSE(IsTaken(asker.Ask(strange)));
  }
  {  // bytes that are no message
    const auto stub = internal::Peer::NewStub(grpc::CreateChannel(
        tower.address(), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    const auto stream = stub->Hear(&context);
    internal::Frame garbage;
    garbage.GetReflection()->MutableUnknownFields(&garbage)->AddVarint(1, 5);
    stream->Write(garbage);
    internal::Frame answer;
    EXPECT_FALSE(stream->Read(&answer));
    EXPECT_EQ(stream->Finish().error_code(), Code::INVALID_ARGUMENT);
  }
  EXPECT_TRUE(NothingLive(tower));
}

TEST(RemoteAudioTest, TooManyLiveSoundsOfAskers_AreRefused) {
  const Served tower(TowerOptions());
  const std::string name = TowerName(tower.address());
  std::vector<std::unique_ptr<Asker>> askers;
  for (int i = 0; i < 64; ++i) {
    askers.push_back(std::make_unique<Asker>(tower.address()));
    ASSERT_TRUE(IsTaken(askers.back()->Ask(Open(name)))) << i;
  }
  EXPECT_EQ(Asker(tower.address()).Ask(Open(name)).status().code(),
            absl::StatusCode::kResourceExhausted);
  // And a node that has another peer takes that.
  const Served second(TowerOptions());
  const Served remote(RemoteOptions({tower.address(), second.address()}));
  Talk talk(remote);
  talk.Pcm(PcmOf(Candle()));
  talk.Text("Transcribe.");
  EXPECT_EQ(talk.Answer(), "candle");
  askers.clear();
  EXPECT_TRUE(NothingLive(tower));
}

TEST(RemoteAudioTest, AskerThatSaysNothing_IsGivenUp) {
  const Served tower(TowerOptions());
  Asker asker(tower.address());
  ASSERT_TRUE(IsTaken(asker.Ask(Open(TowerName(tower.address())))));
  ASSERT_TRUE(IsTaken(asker.Ask(Pcm(PcmOf(Candle())))));
  EXPECT_EQ(asker.End().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(NothingLive(tower));
}

// A client that waits longer than that is none of them: its node speaks for it.
TEST(RemoteAudioTest, ClientThatPauses_IsNotGivenUp) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  const std::string name = TowerName(tower.address());
  v1::ConverseStart start = Greedy();
  start.set_idle_timeout_ms(120000);
  Talk talk(remote, start);
  talk.Pcm(PcmOf(Candle()));
  ASSERT_TRUE(OneLive(tower));
  // As long as it takes with an asker that says nothing.
  Asker asker(tower.address());
  ASSERT_TRUE(IsTaken(asker.Ask(Open(name))));
  EXPECT_EQ(asker.End().code(), absl::StatusCode::kDeadlineExceeded);
  talk.Text("Transcribe.");
  EXPECT_EQ(talk.Answer(), "candle");
}

// --- Peers that mean harm ---------------------------------------------------

std::string Rows(std::vector<int64_t> shape, kernels::DType dtype,
                 float value) {
  return Flatten(ToWire(EncodedMedium{
      absl::OkStatus(), MadeUpTensor(std::move(shape), dtype, value)}));
}

constexpr int64_t kRows = 33;  // nano's: 32 soft tokens, and the sound's end
const float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(RemoteAudioTest, WhatAPeerMakesUpOfAFile_IsRefused_AndTheNextIsAsked) {
  const Served tower(TowerOptions());
  const int64_t width = static_cast<int64_t>(
      SoftTokensOf(*tower.stub, Candle()).size() / sizeof(float) / kRows);
  const std::vector<std::string> lies = {
      "",
      "nonsense",
      std::string(1 << 26, 'x'),
      Flatten(ToWire(StatusQuery{"audio"})),
      Flatten(ToWire(EncodedMedium{})),
      Rows({kRows, width}, kernels::DType::kF32, kNan),
      Rows({width, kRows}, kernels::DType::kF32, 0),
      Rows({kRows, width}, kernels::DType::kBf16, 0),
      Rows({2 * kRows, width}, kernels::DType::kF32, 0),
      Flatten(ToWire(EncodedMedium{absl::InternalError("\xff"), {}}))};
  for (size_t i = 0; i < lies.size(); ++i) {
    const Liar liar(lies[i]);
    {
      const Served remote(RemoteOptions({liar.address()}));
      const Answer answer =
          Generate(*remote.stub, AskSounds({Candle()}, "Transcribe."));
      EXPECT_EQ(answer.status.error_code(), Code::UNAVAILABLE)
          << i << " " << answer.status.error_message();
      EXPECT_THAT(answer.status.error_message(), HasSubstr(liar.address()));
    }
    const Served remote(RemoteOptions({liar.address(), tower.address()}));
    EXPECT_EQ(Heard(*remote.stub, Candle()), "candle") << i;
  }
}

std::string Taken(const SoundTaken& taken) { return Flatten(ToWire(taken)); }

// Before a sound has begun nothing is lost.
TEST(RemoteAudioTest, PeerThatDoesNotBeginALiveSound_IsReplaced) {
  const Served tower(TowerOptions());
  SoundTaken sixth;
  sixth.samples = 6;
  SoundTaken full;
  full.status = absl::ResourceExhaustedError(std::string(10000, 'x'));
  const std::vector<LiveLies> lies = {{},
                                      {{"nonsense"}},
                                      {{Taken(sixth)}},
                                      {{Taken(full)}},
                                      {{Flatten(ToWire(EncodedMedium{}))}},
                                      {{Flatten(ToWire(LiveSound{}))}},
                                      {{std::string(1 << 26, 'x')}}};
  for (size_t i = 0; i < lies.size(); ++i) {
    const Liar liar("", lies[i]);
    const Served remote(RemoteOptions({liar.address(), tower.address()}));
    Talk talk(remote);
    talk.PcmInPieces(PcmOf(Candle()), 3200);
    talk.Text("Transcribe.");
    EXPECT_EQ(talk.Answer(), "candle") << i;
  }
}

TEST(RemoteAudioTest, WhatAPeerMakesUpOfALiveSound_EndsTheTurnAsUnavailable) {
  const std::string pcm = PcmOf(Candle());
  const auto samples = static_cast<int64_t>(pcm.size() / sizeof(int16_t));
  std::vector<LiveLies> lies;
  const auto lie = [&](const std::string& about_push) {
    lies.push_back({{Taken({}), about_push}});
  };
  const int64_t most = std::numeric_limits<int64_t>::max();
  for (const SoundTaken& taken : {
           SoundTaken{absl::OkStatus(), samples * 9, 0, 0, 0, 0},
           SoundTaken{absl::OkStatus(), -1, 0, 0, 0, 0},
           SoundTaken{absl::OkStatus(), samples, -5, 0, 0, 0},
           SoundTaken{absl::OkStatus(), samples, most, 0, 0, 0},
           SoundTaken{absl::OkStatus(), samples, 0, -1, 0, 0},
           SoundTaken{absl::OkStatus(), samples, 0, most, 0, 0},
           SoundTaken{absl::OkStatus(), samples, 0, 0, most, 0},
           SoundTaken{absl::OkStatus(), samples, 0, 0, 0, samples + 1},
           SoundTaken{absl::InternalError("\xff" + std::string(9000, 'x')), 0,
                      0, 0, 0, 0},
       }) {
    lie(Taken(taken));
  }
  lie("");
  lie("nonsense");
  lie(Flatten(ToWire(LiveSound{})));
  lies.push_back({{Taken({})}, /*unasked=*/1});
  lies.push_back({{Taken({})}, /*unasked=*/1000});
  // Of the end.
  SoundTaken all;
  all.samples = samples;
  const auto lie_of_end = [&](kernels::Tensor rows, const SoundTaken& taken) {
    lies.push_back(
        {{Taken({}), Taken(all),
          Flatten(ToWire(LiveSound{absl::OkStatus(), rows, taken}))}});
  };
  const auto f32 = kernels::DType::kF32;
  lie_of_end({}, all);
  lie_of_end(MadeUpTensor({kRows}, f32, 0), all);
  lie_of_end(MadeUpTensor({kRows, 7}, f32, 0), all);
  lie_of_end(MadeUpTensor({kRows * 100, 64}, f32, 0), all);
  lie_of_end(MadeUpTensor({kRows - 1, 64}, f32, 0), all);
  lie_of_end(MadeUpTensor({kRows, 64, 1}, kernels::DType::kBf16, 0), all);
  lie_of_end(MadeUpTensor({kRows, 64}, f32, kNan), all);
  lie_of_end({}, {});
  lies.push_back({{Taken({}), Taken(all), Taken(all)}});
  for (size_t i = 0; i < lies.size(); ++i) {
    const Liar liar("", lies[i]);
    const Served remote(RemoteOptions({liar.address()}));
    Talk talk(remote);
    talk.Pcm(pcm);
    talk.Text("Transcribe.");
    talk.EndOfTurn();
    EXPECT_FALSE(talk.ReadTurn()) << i;
    const grpc::Status status = talk.Finish();
    EXPECT_EQ(status.error_code(), Code::UNAVAILABLE)
        << i << " " << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr(liar.address())) << i;
    EXPECT_LT(status.error_message().size(), 1000u);
    EXPECT_TRUE(NothingLive(remote));
  }
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
