// Images of a node without a tower, encoded by other nodes over TCP.
#include <atomic>
#include <future>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/messages_wire.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/lapidary/internal/peer.grpc.pb.h"
#include "tests/actors/image_requests.h"
#include "tests/actors/liar.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

using testing::HasSubstr;

std::string Address(int port) { return absl::StrCat("127.0.0.1:", port); }

// A node that holds the tower, on a port.
NodeOptions TowerOptions() {
  NodeOptions options = NanoOptions();
  options.listen_address = "127.0.0.1:0";
  return options;
}

NodeOptions RemoteOptions(const std::vector<std::string>& peers) {
  NodeOptions options = NanoOptions();
  options.vision.mode = VisionOptions::Mode::kRemote;
  options.vision.peers = peers;
  return options;
}

struct Served {
  std::unique_ptr<Node> node;
  std::unique_ptr<Stub> stub;

  explicit Served(const NodeOptions& options)
      : node(StartNode(options)), stub(InProcessStub(*node)) {}
  std::string address() const { return Address(node->port()); }
};

TEST(RemoteVisionTest, AnswersAreThoseOfANodeWithTheTower) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  for (const char* picture : {"owl.png", "key.png"}) {
    const v1::GenerateRequest request =
        AskImages({Picture(picture)}, "What is this?");
    const Answer local = Generate(*tower.stub, request);
    const Answer answer = Generate(*remote.stub, request);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    ASSERT_EQ(answer.ids(), local.ids());
    for (size_t t = 0; t < local.tokens.size(); ++t) {
      EXPECT_EQ(answer.tokens[t].logprob(), local.tokens[t].logprob());
    }
  }
  EXPECT_EQ(What(*remote.stub, Picture("owl.png")), "owl");
  const v1::Vision vision = GetStatus(*remote.stub).vision();
  EXPECT_FALSE(vision.loaded());
  EXPECT_EQ(vision.images(), 2u);
  EXPECT_EQ(vision.cache_hits(), 1u);
  ASSERT_EQ(vision.peers_size(), 1);
  EXPECT_TRUE(vision.peers(0).alive());
  EXPECT_EQ(vision.peers(0).images(), 2u);
}

TEST(RemoteVisionTest, DamagedImages_AreNamedAsOnTheNodeWithTheTower) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  const v1::GenerateRequest request =
      AskImages({Picture("owl.png").substr(0, 900)}, "What is this?");
  const Answer local = Generate(*tower.stub, request);
  const Answer answer = Generate(*remote.stub, request);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(answer.status.error_message(), local.status.error_message());
}

TEST(RemoteVisionTest, WithoutANodeThatHoldsTheTower_TheErrorNamesEach) {
  NodeOptions off = TowerOptions();
  off.vision.mode = VisionOptions::Mode::kOff;
  const Served without(off);
  NodeOptions forwards = RemoteOptions({"127.0.0.1:1"});
  forwards.listen_address = "127.0.0.1:0";
  const Served remote_too(forwards);
  const Served remote(
      RemoteOptions({"127.0.0.1:1", without.address(), remote_too.address()}));
  const Answer answer =
      Generate(*remote.stub, AskImages({Picture("owl.png")}, "What is this?"));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  for (const std::string& part :
       {std::string("127.0.0.1:1: "),
        absl::StrCat(without.address(),
                     ": this node was started with "
                     "--vision=off"),
        absl::StrCat(remote_too.address(), ": this node holds no tower"),
        std::string("--vision=lazy"),
        std::string("prompt.chat.messages[0].parts[0].image")}) {
    EXPECT_THAT(answer.status.error_message(), HasSubstr(part));
  }
  EXPECT_TRUE(WaitFor(*remote.stub, [](const v1::StatusResponse& status) {
    return status.vision().waiting() == 0;
  }));
}

TEST(RemoteVisionTest, NodeOfAnotherPacking_IsNotBelieved) {
  NodeOptions other = TowerOptions();
  other.model_folder = PackedNano(kernels::DType::kBf16);
  const Served tower(other);
  const Served remote(RemoteOptions({tower.address()}));
  const Answer answer =
      Generate(*remote.stub, AskImages({Picture("owl.png")}, "What is this?"));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(answer.status.error_message(), HasSubstr("another packing"));
}

// Many at once; the node that encodes ends in their midst, and another one is
// there or is not.
std::vector<Answer> AskWhileTowerEnds(const Served& remote, Served& tower) {
  constexpr int kImages = 24;
  std::vector<std::future<Answer>> asked;
  for (int i = 0; i < kImages; ++i) {
    asked.push_back(std::async(std::launch::async, [&remote, i] {
      return Generate(
          *remote.stub,
          AskImages({absl::StrCat(Picture("owl.png"), i)}, "What is this?"));
    }));
  }
  EXPECT_TRUE(WaitFor(*tower.stub, [](const v1::StatusResponse& status) {
    return status.vision().images() > 0 && status.vision().waiting() > 1;
  }));
  tower.node->Shutdown(absl::ZeroDuration());
  std::vector<Answer> answers;
  for (auto& answer : asked) answers.push_back(answer.get());
  return answers;
}

TEST(RemoteVisionTest, NodeLostMidway_ImagesGoToAnother) {
  Served first(TowerOptions());
  const Served second(TowerOptions());
  const Served remote(RemoteOptions({first.address(), second.address()}));
  for (const Answer& answer : AskWhileTowerEnds(remote, first)) {
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.text, "owl");
  }
}

TEST(RemoteVisionTest, OnlyNodeLostMidway_RequestsEndAsUnavailable) {
  Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  int lost = 0;
  for (const Answer& answer : AskWhileTowerEnds(remote, tower)) {
    if (answer.status.ok()) continue;
    ++lost;
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE)
        << answer.status.error_message();
  }
  EXPECT_GT(lost, 0);
}

TEST(RemoteVisionTest, ImagesThatNobodyWaitsFor_AreGivenUpThere) {
  const Served tower(TowerOptions());
  const Served remote(RemoteOptions({tower.address()}));
  std::vector<std::future<Answer>> asked;
  for (int i = 0; i < 40; ++i) {
    asked.push_back(std::async(std::launch::async, [&remote, i] {
      return Generate(
          *remote.stub,
          AskImages({absl::StrCat(Picture("owl.png"), i)}, "What is this?"),
          nullptr, /*deadline_ms=*/60);
    }));
  }
  for (auto& answer : asked) answer.get();
  for (Stub* stub : {remote.stub.get(), tower.stub.get()}) {
    EXPECT_TRUE(WaitFor(*stub, [](const v1::StatusResponse& status) {
      return status.has_vision() && status.vision().waiting() == 0;
    }));
  }
  EXPECT_LT(GetStatus(*tower.stub).vision().images(), 40u);
}

// --- A peer that means harm -------------------------------------------------

std::string Rows(std::vector<int64_t> shape, kernels::DType dtype,
                 float value) {
  return Flatten(ToWire(EncodedMedium{
      absl::OkStatus(), MadeUpTensor(std::move(shape), dtype, value)}));
}

TEST(RemoteVisionTest, WhatAPeerMakesUp_IsRefused_AndTheNextIsAsked) {
  const Served tower(TowerOptions());
  grpc::ClientContext context;
  v1::EncodeMediaRequest media;
  media.mutable_image()->set_data(Picture("owl.png"));
  v1::EncodeMediaResponse right;
  ASSERT_TRUE(tower.stub->EncodeMedia(&context, media, &right).ok());
  const int64_t rows = right.soft_tokens().tokens();
  const int64_t width = right.soft_tokens().width();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::string> lies = {
      "",
      "nonsense",
      std::string(1 << 24, 'x'),
      Flatten(ToWire(StatusQuery{})),
      Flatten(ToWire(EncodedMedium{})),
      Rows({rows, width}, kernels::DType::kF32, nan),
      Rows({width, rows}, kernels::DType::kF32, 0),
      Rows({rows, width}, kernels::DType::kBf16, 0),
      Rows({rows + 1, width}, kernels::DType::kF32, 0),
      Flatten(ToWire(EncodedMedium{absl::InternalError("\xff"), {}}))};
  for (size_t i = 0; i < lies.size(); ++i) {
    const Liar liar(lies[i]);
    {
      const Served remote(RemoteOptions({liar.address()}));
      const Answer answer = Generate(
          *remote.stub, AskImages({Picture("owl.png")}, "What is this?"));
      EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE)
          << i << " " << answer.status.error_message();
      EXPECT_THAT(answer.status.error_message(), HasSubstr(liar.address()));
    }
    const Served remote(RemoteOptions({liar.address(), tower.address()}));
    EXPECT_EQ(What(*remote.stub, Picture("owl.png")), "owl") << i;
  }
}

TEST(RemoteVisionTest, PeersThatAskForAnythingElse_AreRefused) {
  const Served tower(TowerOptions());
  auto channel =
      grpc::CreateChannel(tower.address(), grpc::InsecureChannelCredentials());
  const auto stub = internal::Peer::NewStub(channel);
  // A Frame whose bytes are no frame of ours.
  internal::Frame empty, answer;
  grpc::ClientContext context;
  EXPECT_EQ(stub->Ask(&context, empty, &answer).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(What(*tower.stub, Picture("owl.png")), "owl");
}

TEST(RemoteVisionTest, PeersThatAreNoAddresses_AreRefusedAtTheStart) {
  for (const char* peer :
       {"", "host", "host:", ":7421", "host:0", "host:65536", "host:7421x",
        "http://host:7421", "fd00::2:7421", "[fd00::2:7421", "a b:1", "h:+1",
        "host:99999999999"}) {
    const absl::Status status =
        Node::Start(RemoteOptions({"10.0.0.2:7421", peer})).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << peer;
    EXPECT_THAT(status.message(), HasSubstr("--vision-peers")) << peer;
    EXPECT_THAT(status.message(), HasSubstr("HOST:PORT")) << peer;
  }
  NodeOptions local = NanoOptions();
  local.vision.peers = {"10.0.0.2:7421"};
  EXPECT_THAT(Node::Start(local).status().message(),
              HasSubstr("--vision=remote"));
}

TEST(RemoteVisionTest, TheNodeItselfIsNoPeer_ANeighbourOnItsPortIs) {
  const struct {
    const char* listens;
    const char* peer;
    bool is_self;
  } cases[] = {
      {"10.0.0.1:7421", "10.0.0.1:7421", true},
      {"10.0.0.1:7421", "10.0.0.2:7421", false},
      {"10.0.0.1:7421", "10.0.0.1:7422", false},
      {"0.0.0.0:7421", "127.0.0.2:7421", true},
      {"[::]:7421", "localhost:7421", true},
      {"localhost:7421", "127.0.0.1:7421", true},
      {"127.0.0.1:7421", "localhost:7421", true},
      {"127.0.0.1:7421", "127.0.0.2:7421", false},
      {"127.0.0.2:7421", "localhost:7421", false},
      {"", "127.0.0.1:7421", false},
  };
  for (const auto& [listens, peer, is_self] : cases) {
    NodeOptions options = RemoteOptions({peer});
    options.listen_address = listens;
    EXPECT_EQ(CheckNodeOptions(options).ok(), !is_self)
        << peer << " of " << listens;
  }
}

TEST(RemoteVisionTest, ModeWithoutPeers_IsRefusedAtTheStart) {
  EXPECT_THAT(Node::Start(RemoteOptions({})).status().message(),
              HasSubstr("--vision-peers"));
}

}  // namespace
}  // namespace lapidary
