// Images in prompts, from the client's bytes to the answer: against Hugging
// Face's ids, log-probabilities and answers for nano, in any company, and
// through loading, unloading and damage.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <future>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/json.h"
#include "tests/actors/image_requests.h"
#include "tests/actors/nano_node.h"
#include "tests/support/files.h"
#include "tests/support/image_goldens.h"
#include "tests/support/png_file.h"

namespace lapidary {
namespace {

using testing::HasSubstr;

constexpr char kGoldens[] = "tests/goldens/nano/";

// A golden's conversation without sounds, and what Hugging Face made of it.
struct Case {
  std::string name;
  v1::Chat chat;
  std::vector<int32_t> ids, greedy;
  std::vector<float> target_logprobs;
  double noise = 0;  // of Hugging Face's own float32
};

// False where a sound is part of it.
bool AddPart(const Json& json, v1::Message* message) {
  v1::Part* part = message->add_parts();
  if (json["type"] == "text") {
    part->set_text(json["text"].get<std::string>());
  } else if (json["type"] == "image") {
    part->mutable_image()->set_data(Picture(json["file"].get<std::string>()));
  }
  return json["type"] != "audio";
}

std::vector<Case> Cases() {
  const Json json =
      *ParseJson(ReadBytes(absl::StrCat(kGoldens, "media.json")), "media.json");
  std::vector<Case> cases;
  for (const auto& [name, golden] : json["cases"].items()) {
    Case c;
    c.name = name;
    bool silent = true;
    for (const Json& message : golden["messages"]) {
      v1::Message* turn = c.chat.add_messages();
      turn->set_role(message["role"].get<std::string>());
      for (const Json& part : message["content"]) {
        silent = AddPart(part, turn) && silent;
      }
    }
    if (!silent) continue;
    c.ids = golden["ids"].get<std::vector<int32_t>>();
    c.greedy = golden["greedy"].get<std::vector<int32_t>>();
    c.target_logprobs = golden["target_logprobs"].get<std::vector<float>>();
    c.noise = golden["float32_noise"].get<double>();
    cases.push_back(std::move(c));
  }
  return cases;
}

struct Served {
  std::unique_ptr<Node> node;
  std::unique_ptr<Stub> stub;

  explicit Served(const NodeOptions& options)
      : node(StartNode(options)), stub(InProcessStub(*node)) {}
};

TEST(VisionTest, IdsAndLogProbs_AreHuggingFaces) {
  const Served served(NanoOptions());
  const std::vector<Case> cases = Cases();
  ASSERT_GE(cases.size(), 7u);
  for (const Case& c : cases) {
    v1::ScoreRequest request;
    *request.mutable_prompt()->mutable_chat() = c.chat;
    request.mutable_prompt()->mutable_chat()->set_add_generation_prompt(true);
    const Scores scores = Score(*served.stub, request);
    ASSERT_TRUE(scores.status.ok()) << scores.status.error_message();
    ASSERT_EQ(scores.tokens.size(), c.ids.size()) << c.name;
    ASSERT_EQ(c.target_logprobs.size() + 1, c.ids.size());
    double worst = 0;
    for (size_t i = 0; i < c.ids.size(); ++i) {
      ASSERT_EQ(scores.tokens[i].id(), c.ids[i]) << c.name << " " << i;
      if (i == 0) continue;
      worst = std::max(worst, std::fabs(double{scores.tokens[i].logprob()} -
                                        c.target_logprobs[i - 1]));
    }
    std::printf("%s: log-probs differ by %.1e at most, %.2f of float32's own\n",
                c.name.c_str(), worst, worst / c.noise);
    EXPECT_LE(worst, 4 * c.noise) << c.name;
  }
}

TEST(VisionTest, GreedyAnswers_AreHuggingFaces) {
  const Served served(NanoOptions());
  for (const Case& c : Cases()) {
    const Answer answer = Generate(
        *served.stub, AskChat(c.chat, static_cast<int32_t>(c.greedy.size())));
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.ids(), c.greedy) << c.name;
    EXPECT_EQ(answer.final.usage().prompt_tokens(),
              static_cast<int32_t>(c.ids.size()));
  }
}

// Images cut by steps, encoded beside others, twice the same, by two threads.
TEST(VisionTest, AnswersDoNotDependOnTheCompany) {
  std::vector<Answer> alone;
  {
    const Served served(NanoOptions(kernels::DType::kInt4));
    for (const Case& c : Cases()) {
      alone.push_back(Generate(*served.stub, AskChat(c.chat, 6)));
    }
  }
  NodeOptions options = NanoOptions(kernels::DType::kInt4);
  options.max_batch_rows = 11;
  options.max_running = 8;
  options.threads = 2;
  const Served served(options);
  const std::vector<Case> cases = Cases();
  std::vector<std::future<Answer>> together;
  for (int round = 0; round < 2; ++round) {
    for (const Case& c : cases) {
      together.push_back(std::async(std::launch::async, [&served, &c] {
        return Generate(*served.stub, AskChat(c.chat, 6));
      }));
    }
  }
  for (size_t i = 0; i < together.size(); ++i) {
    const Answer answer = together[i].get();
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    const Answer& expected = alone[i % cases.size()];
    ASSERT_EQ(answer.ids(), expected.ids()) << cases[i % cases.size()].name;
    for (size_t t = 0; t < expected.tokens.size(); ++t) {
      EXPECT_EQ(answer.tokens[t].logprob(), expected.tokens[t].logprob());
    }
  }
  const v1::Vision vision = GetStatus(*served.stub).vision();
  EXPECT_GT(vision.cache_hits(), vision.images());
}

TEST(VisionTest, PromptsThatDifferInTheirImageAlone_ShareWhatIsBeforeIt) {
  const Served served(NanoOptions(kernels::DType::kInt4));
  const auto ask = [&served](const std::string& file) {
    Answer answer = Generate(
        *served.stub,
        AskImages(std::vector<std::string>(6, Picture(file)), "What is this?"));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    return answer;
  };
  const Answer owl = ask("owl.png");
  EXPECT_EQ(owl.final.usage().cached_prompt_tokens(), 0);
  const Answer key = ask("key.png");
  EXPECT_NE(key.tokens[0].logprob(), owl.tokens[0].logprob());
  EXPECT_EQ(key.final.usage().cached_prompt_tokens(), 0);
  const Answer again = ask("owl.png");
  EXPECT_GE(again.final.usage().cached_prompt_tokens(), 64);
  ASSERT_EQ(again.ids(), owl.ids());
  for (size_t t = 0; t < owl.tokens.size(); ++t) {
    EXPECT_EQ(again.tokens[t].logprob(), owl.tokens[t].logprob());
  }
}

TEST(VisionTest, LazyTower_IsLoadedForAnImage_AndUnloadedWhenIdle) {
  NodeOptions options = NanoOptions();
  options.vision.idle = absl::Milliseconds(50);
  const Served served(options);
  EXPECT_FALSE(GetStatus(*served.stub).vision().loaded());
  for (uint64_t loads : {1, 2}) {
    // Another image each time: a known one needs no tower.
    const bool first = loads == 1;
    EXPECT_EQ(What(*served.stub, Picture(first ? "owl.png" : "key.png")),
              first ? "owl" : "key");
    EXPECT_TRUE(WaitFor(*served.stub, [&](const v1::StatusResponse& status) {
      return status.vision().unloads() == loads;
    }));
    const v1::Vision vision = GetStatus(*served.stub).vision();
    EXPECT_FALSE(vision.loaded());
    EXPECT_EQ(vision.loads(), loads);
    EXPECT_GT(vision.weight_bytes(), 0u);
  }
  EXPECT_EQ(What(*served.stub, Picture("owl.png")), "owl");
  EXPECT_EQ(GetStatus(*served.stub).vision().loads(), 2u);
}

TEST(VisionTest, PinnedTower_IsThereFromTheStart) {
  NodeOptions options = NanoOptions();
  options.vision.mode = VisionOptions::Mode::kPinned;
  options.vision.idle = absl::ZeroDuration();
  const Served served(options);
  EXPECT_TRUE(GetStatus(*served.stub).vision().loaded());
  EXPECT_EQ(What(*served.stub, Picture("owl.png")), "owl");
  EXPECT_TRUE(GetStatus(*served.stub).vision().loaded());
}

TEST(VisionTest, WithoutATower_ImagesAreRefusedByName) {
  NodeOptions options = NanoOptions();
  options.vision.mode = VisionOptions::Mode::kOff;
  const Served served(options);
  const Answer answer =
      Generate(*served.stub, AskImages({Picture("owl.png")}, "What is this?"));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(answer.status.error_message(),
              HasSubstr("prompt.chat.messages[0].parts[0].image"));
  EXPECT_THAT(answer.status.error_message(), HasSubstr("--vision=off"));
  EXPECT_FALSE(GetStatus(*served.stub).has_vision());
}

TEST(VisionTest, BadImages_AreNamed_AndOthersGoOn) {
  const Served served(NanoOptions());
  const std::string owl = Picture("owl.png");
  const std::string truncated = owl.substr(0, owl.size() / 2);
  for (const std::string& bad : {std::string(), std::string("no image"),
                                 truncated, std::string(100000, '\xFF')}) {
    const Answer answer =
        Generate(*served.stub, AskImages({owl, bad}, "What is this?"));
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT)
        << answer.status.error_message();
    EXPECT_THAT(answer.status.error_message(),
                HasSubstr("prompt.chat.messages[0].parts[1].image"));
    EXPECT_TRUE(answer.tokens.empty());
  }
  EXPECT_EQ(What(*served.stub, owl), "owl");
}

TEST(VisionTest, MoreImagesThanTheContextHolds_AreRefusedBeforeAnyIsEncoded) {
  const Served served(NanoOptions());
  const Answer answer = Generate(
      *served.stub,
      AskImages(std::vector<std::string>(300, Picture("sun_small_grey.png")),
                "What is this?"));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::OUT_OF_RANGE)
      << answer.status.error_message();
  EXPECT_EQ(GetStatus(*served.stub).vision().images(), 0u);
}

v1::EncodeMediaRequest MediaRequest(const std::string& file) {
  v1::EncodeMediaRequest request;
  request.mutable_image()->set_data(file);
  return request;
}

TEST(VisionTest,
     SoftTokensOfEncodeMedia_GiveTheSameAnswer_OnANodeWithoutTower) {
  v1::EncodeMediaResponse media;
  Answer expected;
  {
    const Served served(NanoOptions());
    grpc::ClientContext context;
    ASSERT_TRUE(
        served.stub
            ->EncodeMedia(&context, MediaRequest(Picture("key.png")), &media)
            .ok());
    expected = Generate(*served.stub,
                        AskImages({Picture("key.png")}, "What is this?"));
  }
  EXPECT_EQ(media.soft_tokens().values().size(),
            4u * media.soft_tokens().tokens() * media.soft_tokens().width());
  NodeOptions options = NanoOptions();
  options.vision.mode = VisionOptions::Mode::kOff;
  const Served served(options);
  v1::GenerateRequest request = AskImages({""}, "What is this?");
  v1::Image* image = request.mutable_prompt()
                         ->mutable_chat()
                         ->mutable_messages(0)
                         ->mutable_parts(0)
                         ->mutable_image();
  *image->mutable_soft_tokens() = media.soft_tokens();
  const Answer answer = Generate(*served.stub, request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  ASSERT_EQ(answer.ids(), expected.ids());
  EXPECT_EQ(answer.text, "key");
  for (size_t t = 0; t < expected.tokens.size(); ++t) {
    EXPECT_EQ(answer.tokens[t].logprob(), expected.tokens[t].logprob());
  }

  // Not the model's, or not numbers.
  std::string& values = *image->mutable_soft_tokens()->mutable_values();
  values.replace(8, 4, "\x00\x00\xC0\x7F", 4);
  EXPECT_THAT(Generate(*served.stub, request).status.error_message(),
              HasSubstr("soft_tokens.values[2] is nan"));
  values.resize(values.size() - 4);
  EXPECT_EQ(Generate(*served.stub, request).status.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(VisionTest, EncodeMediaOfABadImage_SaysWhatIsWrong) {
  const Served served(NanoOptions());
  for (const std::string& bad : {std::string(), std::string("GIF89a")}) {
    grpc::ClientContext context;
    v1::EncodeMediaResponse response;
    const grpc::Status status =
        served.stub->EncodeMedia(&context, MediaRequest(bad), &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("image"));
  }
}

TEST(VisionTest, ImageInASystemMessage_IsRefused) {
  const Served served(NanoOptions());
  v1::GenerateRequest request =
      AskImages({Picture("owl.png")}, "What is this?");
  v1::Message* system =
      request.mutable_prompt()->mutable_chat()->add_messages();
  system->set_role("system");
  system->add_parts()->set_text("Be brief.");
  system->add_parts()->mutable_image()->set_data(Picture("key.png"));
  request.mutable_prompt()->mutable_chat()->mutable_messages()->SwapElements(0,
                                                                             1);
  const Answer answer = Generate(*served.stub, request);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(answer.status.error_message(),
              HasSubstr("messages[0].parts[1].image"));
}

// The same picture in another file: what follows a PNG's end is not read.
std::string Owl(int number) { return absl::StrCat(Picture("owl.png"), number); }

// Of many requests with images of their own.
std::vector<Answer> AskAtOnce(Stub& stub, int count, int deadline_ms,
                              const std::function<void()>& meanwhile) {
  std::vector<std::future<Answer>> asked;
  for (int i = 0; i < count; ++i) {
    asked.push_back(std::async(std::launch::async, [&stub, i, deadline_ms] {
      return Generate(stub, AskImages({Owl(i)}, "What is this?"), nullptr,
                      deadline_ms);
    }));
  }
  meanwhile();
  std::vector<Answer> answers;
  for (auto& answer : asked) answers.push_back(answer.get());
  return answers;
}

TEST(VisionTest, RequestsOfALostActor_EndAsUnavailable) {
  const Served served(NanoOptions());
  const std::vector<Answer> answers = AskAtOnce(*served.stub, 24, 0, [&] {
    EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
      return status.vision().waiting() > 4;
    }));
    ASSERT_TRUE(served.node->KillRole("vision").ok());
  });
  int lost = 0;
  for (const Answer& answer : answers) {
    if (answer.status.ok()) {
      EXPECT_EQ(answer.text, "owl");
      continue;
    }
    ++lost;
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE)
        << answer.status.error_message();
  }
  EXPECT_GT(lost, 0);
}

TEST(VisionTest, ImagesThatNobodyWaitsFor_AreNotEncoded) {
  const Served served(NanoOptions());
  EXPECT_EQ(What(*served.stub, Owl(100)), "owl");  // the tower is there
  AskAtOnce(*served.stub, 24, /*deadline_ms=*/40, [] {});
  EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.has_vision() && status.vision().waiting() == 0;
  }));
  EXPECT_LT(GetStatus(*served.stub).vision().images(), 25u);
  EXPECT_EQ(What(*served.stub, Owl(101)), "owl");
}

// More than may wait, given up while the image before them is still decoded.
TEST(VisionTest, ImagesGivenUp_LeaveTheirPlaces) {
  const Served served(NanoOptions());
  auto slow = std::async(std::launch::async, [&] {
    return Generate(*served.stub, AskImages({BlackPng(7000)}, "What is this?"));
  });
  EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.vision().waiting() == 1;
  }));
  std::list<grpc::ClientContext> calls;
  std::vector<std::future<grpc::Status>> given_up;
  for (int i = 0; i < 80; ++i) {
    given_up.push_back(std::async(
        std::launch::async, [&served, i, call = &calls.emplace_back()] {
          v1::EncodeMediaResponse response;
          return served.stub->EncodeMedia(call, MediaRequest(Owl(1000 + i)),
                                          &response);
        }));
  }
  EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.vision().waiting() == 65;
  }));
  for (grpc::ClientContext& call : calls) call.TryCancel();
  for (auto& status : given_up) status.get();
  EXPECT_EQ(What(*served.stub, Owl(2000)), "owl");
  EXPECT_TRUE(slow.get().status.ok());
}

TEST(VisionTest, AskedForAgainAsItIsGivenUp_IsAnswered) {
  const Served served(NanoOptions());
  const std::string large = ImageFile("jpg_2016x3024.jpg");
  const Answer alone =
      Generate(*served.stub, AskImages({large}, "What is this?"));
  ASSERT_TRUE(alone.status.ok()) << alone.status.error_message();
  for (int round = 0; round < 12; ++round) {
    const std::string file = absl::StrCat(large, round);  // not known yet
    auto gives_up = std::async(std::launch::async, [&] {
      return Generate(*served.stub, AskImages({file}, "What is this?"), nullptr,
                      /*deadline_ms=*/5 + 6 * round);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(6 * round));
    const Answer stays =
        Generate(*served.stub, AskImages({file}, "What is this?"));
    EXPECT_TRUE(stays.status.ok()) << stays.status.error_message();
    EXPECT_EQ(stays.ids(), alone.ids());
    gives_up.get();
  }
}

TEST(VisionTest, LostActor_IsStartedAgain) {
  const Served served(NanoOptions());
  EXPECT_EQ(What(*served.stub, Picture("owl.png")), "owl");
  ASSERT_TRUE(served.node->KillRole("vision").ok());
  EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    for (const v1::Role& role : status.roles()) {
      if (role.name() == "vision") return role.restarts() == 1 && role.alive();
    }
    return false;
  }));
  EXPECT_EQ(What(*served.stub, Picture("owl.png")), "owl");
}

}  // namespace
}  // namespace lapidary
