// Nodes that ask for sounds to be encoded, or are asked, and mean harm.
#include <condition_variable>
#include <future>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
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
#include "tests/actors/remote_audio.h"
#include "tests/actors/talk.h"

namespace lapidary {
namespace {

using testing::HasSubstr;
using Code = grpc::StatusCode;

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

TEST(RemoteAudioHarmTest, AskersOutOfOrder_AreRefused_AndTheirSoundsGo) {
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

TEST(RemoteAudioHarmTest, TooManyLiveSoundsOfAskers_AreRefused) {
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

TEST(RemoteAudioHarmTest, AskerThatSaysNothing_IsGivenUp) {
  const Served tower(TowerOptions());
  Asker asker(tower.address());
  ASSERT_TRUE(IsTaken(asker.Ask(Open(TowerName(tower.address())))));
  ASSERT_TRUE(IsTaken(asker.Ask(Pcm(PcmOf(Candle())))));
  EXPECT_EQ(asker.End().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(NothingLive(tower));
}

// A client that waits longer than that is none of them: its node speaks for it.
TEST(RemoteAudioHarmTest, ClientThatPauses_IsNotGivenUp) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  const std::string name = TowerName(tower.address());
  v1::ConverseStart start = Greedy();
  start.set_idle_timeout_ms(120000);
  Talk talk(remote, start);
  talk.Pcm(PcmOf(Candle()));
  ASSERT_TRUE(OneLive(tower));
  // Longer than it takes with askers that say nothing.
  for (int times = 0; times < 2; ++times) {
    Asker asker(tower.address());
    ASSERT_TRUE(IsTaken(asker.Ask(Open(name))));
    EXPECT_EQ(asker.End().code(), absl::StatusCode::kDeadlineExceeded);
  }
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

int64_t Width(Stub& tower) {
  return static_cast<int64_t>(SoftTokensOf(tower, Candle()).size() /
                              sizeof(float)) /
         kRows;
}

TEST(RemoteAudioHarmTest, WhatAPeerMakesUpOfAFile_IsRefused_AndTheNextIsAsked) {
  const Served tower(TowerOptions());
  const int64_t width = Width(*tower.stub);
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
TEST(RemoteAudioHarmTest, PeerThatDoesNotBeginALiveSound_IsReplaced) {
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

TEST(RemoteAudioHarmTest,
     WhatAPeerMakesUpOfALiveSound_EndsTheTurnAsUnavailable) {
  const std::string pcm = PcmOf(Candle());
  const auto samples = static_cast<int64_t>(pcm.size() / sizeof(int16_t));
  struct Lie {
    LiveLies lies;
    std::string found;  // what is said of it
  };
  std::vector<Lie> lies;
  const auto lie = [&](const std::string& about_push, const char* found) {
    lies.push_back({{{Taken({}), about_push}}, found});
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
       }) {
    lie(Taken(taken), "its counts cannot be of this sound");
  }
  SoundTaken failed;
  failed.status = absl::InternalError("\xff" + std::string(9000, 'x'));
  lie(Taken(failed), "xxx");
  lie("", "it has no header");
  lie("nonsense", "its header has");
  lie(Flatten(ToWire(LiveSound{})), "another message");
  // Whether it is asked again before it has said so decides what is found.
  lies.push_back({{{Taken({})}, /*unasked=*/1}, ""});
  lies.push_back({{{Taken({})}, /*unasked=*/1000}, ""});
  // Of the end.
  SoundTaken all;
  all.samples = samples;
  const auto lie_of_end = [&](const kernels::Tensor& rows,
                              const SoundTaken& taken, const char* found) {
    lies.push_back(
        {{{Taken({}), Taken(all),
           Flatten(ToWire(LiveSound{absl::OkStatus(), rows, taken}))}},
         found});
  };
  const int64_t width = Width(*Served(TowerOptions()).stub);
  const auto f32 = kernels::DType::kF32;
  lie_of_end({}, all, "of 0 windows");
  lie_of_end(MadeUpTensor({kRows}, f32, 0), all, "not f32 [33, ");
  lie_of_end(MadeUpTensor({kRows, width + 1}, f32, 0), all, "not f32 [33, ");
  lie_of_end(MadeUpTensor({kRows * 100, width}, f32, 0), all, "100 windows");
  lie_of_end(MadeUpTensor({kRows - 1, width}, f32, 0), all, "0 windows");
  lie_of_end(MadeUpTensor({kRows, width}, kernels::DType::kBf16, 0), all,
             "not f32 [33, ");
  lie_of_end(MadeUpTensor({kRows, width}, f32, kNan), all, "no embeddings");
  lie_of_end({}, {}, "its counts cannot be of this sound");
  lies.push_back({{{Taken({}), Taken(all), Taken(all)}}, "another message"});
  for (size_t i = 0; i < lies.size(); ++i) {
    const Liar liar("", lies[i].lies);
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
    EXPECT_THAT(status.error_message(), HasSubstr(lies[i].found)) << i;
    EXPECT_LT(status.error_message().size(), 1000u);
    EXPECT_TRUE(NothingLive(remote));
  }
}

}  // namespace
}  // namespace lapidary
