// What happens to a request before its images are encoded: where they come
// from, who is let in, and what their tokens count for.
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/actors/image_requests.h"
#include "tests/actors/nano_node.h"
#include "tests/support/files.h"
#include "tests/support/http_server.h"

namespace lapidary {
namespace {

using testing::HasSubstr;

struct Served {
  std::unique_ptr<Node> node;
  std::unique_ptr<Stub> stub;

  explicit Served(const NodeOptions& options)
      : node(StartNode(options)), stub(InProcessStub(*node)) {}
};

v1::Image* ImageOf(v1::GenerateRequest& request) {
  return request.mutable_prompt()
      ->mutable_chat()
      ->mutable_messages(0)
      ->mutable_parts(0)
      ->mutable_image();
}

v1::GenerateRequest AskUrl(const std::string& url) {
  v1::GenerateRequest request = AskImages({""}, "What is this?");
  ImageOf(request)->set_url(url);
  return request;
}

v1::GenerateRequest AskFile(const std::string& path) {
  v1::GenerateRequest request = AskImages({""}, "What is this?");
  ImageOf(request)->set_file(path);
  return request;
}

v1::Model TheModel(Stub& stub) {
  grpc::ClientContext context;
  v1::ListModelsResponse models;
  EXPECT_TRUE(stub.ListModels(&context, v1::ListModelsRequest(), &models).ok());
  return models.models(0);
}

// --- Where images come from -------------------------------------------------

TEST(ImageAdmissionTest, UrlsAndFiles_AnswerAsTheirBytes) {
  const std::string owl = Picture("owl.png"), key = Picture("key.png");
  const HttpServer server(
      [&](const std::string&) { return HttpServer::Ok(owl); });
  const std::string folder = testing::TempDir();
  WriteBytes(folder + "/key.png", key);
  NodeOptions options = NanoOptions();
  options.media.urls = {server.origin()};
  options.media.folder = folder;
  const Served served(options);
  EXPECT_EQ(Generate(*served.stub, AskUrl(server.url("/owl.png"))).text, "owl");
  EXPECT_EQ(Generate(*served.stub, AskFile("key.png")).text, "key");
  // Known by their bytes, wherever those come from.
  EXPECT_EQ(What(*served.stub, owl), "owl");
  EXPECT_EQ(GetStatus(*served.stub).vision().images(), 2u);

  grpc::ClientContext context;
  v1::EncodeMediaRequest media;
  media.mutable_image()->set_file("key.png");
  v1::EncodeMediaResponse response;
  EXPECT_TRUE(served.stub->EncodeMedia(&context, media, &response).ok());
  EXPECT_GT(response.soft_tokens().tokens(), 0);
}

TEST(ImageAdmissionTest, NothingIsFetchedUnlessAllowed) {
  const HttpServer server(
      [&](const std::string&) { return HttpServer::Ok("x"); });
  const Served closed(NanoOptions());
  NodeOptions options = NanoOptions();
  options.media.urls = {server.url("/allowed/")};
  options.media.folder = testing::TempDir();
  const Served open(options);
  const struct {
    const Served& served;
    v1::GenerateRequest request;
    const char* flag;
    grpc::StatusCode code = grpc::StatusCode::PERMISSION_DENIED;
  } cases[] = {
      {closed, AskUrl(server.url("/allowed/1.png")), "--media-urls"},
      {closed, AskFile("key.png"), "--media-files"},
      {open, AskUrl(server.url("/else/1.png")), "--media-urls"},
      {open, AskFile("/etc/passwd"), "--media-files",
       grpc::StatusCode::NOT_FOUND},
  };
  for (const auto& c : cases) {
    const Answer answer = Generate(*c.served.stub, c.request);
    EXPECT_EQ(answer.status.error_code(), c.code)
        << answer.status.error_message();
    EXPECT_THAT(answer.status.error_message(), HasSubstr(c.flag));
    EXPECT_THAT(answer.status.error_message(),
                HasSubstr("prompt.chat.messages[0].parts[0].image"));
  }
  EXPECT_EQ(server.requests(), 0);
}

TEST(ImageAdmissionTest, WhatIsFetched_IsDecodedAsCarefully) {
  const HttpServer server([&](const std::string& path) {
    if (path == "/none.png") return HttpServer::Code(404);
    return HttpServer::Ok("<html>");
  });
  NodeOptions options = NanoOptions();
  options.media.urls = {server.origin()};
  const Served served(options);
  EXPECT_EQ(Generate(*served.stub, AskUrl(server.url("/page.png")))
                .status.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Generate(*served.stub, AskUrl(server.url("/none.png")))
                .status.error_code(),
            grpc::StatusCode::NOT_FOUND);
  v1::GenerateRequest both = AskUrl(server.url("/a.png"));
  ImageOf(both)->set_data("x");
  EXPECT_THAT(Generate(*served.stub, both).status.error_message(),
              HasSubstr("send one of them"));
}

// Its fetch ends with the call, so that the node can end at once.
TEST(ImageAdmissionTest, SlowServer_HoldsUpNobodyElse) {
  const HttpServer server([](const std::string&) { return std::string(); });
  NodeOptions options = NanoOptions();
  options.media.urls = {server.origin()};
  options.media.max_time = absl::Hours(1);
  const Served served(options);
  std::vector<std::future<Answer>> slow;
  for (int i = 0; i < 12; ++i) {  // more than are fetched at once
    slow.push_back(std::async(std::launch::async, [&] {
      return Generate(*served.stub, AskUrl(server.url("/")), nullptr,
                      /*deadline_ms=*/2000);
    }));
  }
  while (server.requests() < 8) std::this_thread::yield();
  EXPECT_EQ(What(*served.stub, Picture("owl.png")), "owl");
  for (auto& answer : slow) {
    EXPECT_EQ(answer.get().status.error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  }
}

// --- Who is let in ----------------------------------------------------------

TEST(ImageAdmissionTest, RequestThatIsRefused_CostsNoEncode) {
  NodeOptions options = NanoOptions();
  options.kv_memory_bytes = size_t{1} << 20;
  const Served served(options);
  v1::GenerateRequest request =
      AskImages({Picture("owl.png")}, "What is this?");
  request.set_max_tokens(TheModel(*served.stub).context_tokens() - 1000);
  const Answer refused = Generate(*served.stub, request);
  ASSERT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
      << refused.status.error_message();
  const v1::StatusResponse status = GetStatus(*served.stub);
  EXPECT_EQ(status.vision().cache_misses(), 0u);
  EXPECT_FALSE(status.vision().loaded());
  EXPECT_EQ(status.queue().refused(), 1u);
  EXPECT_EQ(status.queue().accepted(), 0u);
}

TEST(ImageAdmissionTest, TimeLimitIsOverWhileTheImageIsFetched) {
  const HttpServer server([](const std::string&) { return std::string(); });
  NodeOptions options = NanoOptions();
  options.media.urls = {server.origin()};
  options.media.max_time = absl::Hours(1);
  const Served served(options);
  v1::GenerateRequest request = AskUrl(server.url("/"));
  request.set_time_limit_ms(50);
  const Answer answer = Generate(*served.stub, request);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.final.stop_reason(), v1::STOP_REASON_DEADLINE);
  EXPECT_EQ(answer.final.usage().completion_tokens(), 0);
  EXPECT_GT(answer.final.usage().prompt_tokens(), 0);
}

// Of many whose time is over while they wait for the tower nothing stays.
TEST(ImageAdmissionTest, TimeLimitIsOverWhileImagesWait) {
  const Served served(NanoOptions());
  std::vector<std::future<Answer>> asked;
  for (int i = 0; i < 32; ++i) {
    asked.push_back(std::async(std::launch::async, [&served, i] {
      v1::GenerateRequest request =
          AskImages({absl::StrCat(Picture("owl.png"), i)}, "What is this?");
      request.set_time_limit_ms(30);
      return Generate(*served.stub, request);
    }));
  }
  for (auto& asking : asked) {
    const Answer answer = asking.get();
    // An answer, or none, but no failure; or refused by what steps cost.
    EXPECT_TRUE(answer.status.ok() || answer.status.error_code() ==
                                          grpc::StatusCode::RESOURCE_EXHAUSTED)
        << answer.status.error_message();
  }
  EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.vision().waiting() == 0 && status.queue().running() == 0;
  }));
  EXPECT_EQ(GetStatus(*served.stub).memory().kv_pages_in_use(), 0);
}

TEST(ImageAdmissionTest, ImagesOfAnAssistantsTurn_AreNotLost_OthersAreRefused) {
  const Served served(NanoOptions());
  v1::GenerateRequest request =
      AskImages({Picture("owl.png")}, "What is this?");
  v1::Chat* chat = request.mutable_prompt()->mutable_chat();
  *chat->add_messages() =
      AskImages({Picture("key.png")}, "This.").prompt().chat().messages(0);
  chat->mutable_messages(1)->set_role("assistant");
  *chat->add_messages() =
      Ask("And what is that?", 8).prompt().chat().messages(0);
  const Answer answer = Generate(*served.stub, request);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(GetStatus(*served.stub).vision().images(), 2u);
  chat->mutable_messages(1)->set_role("tool");
  const Answer refused = Generate(*served.stub, request);
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("tool"));
}

// --- What they count for ----------------------------------------------------

TEST(ImageAdmissionTest, SumOfAPrompt_IsThatOfItsText) {
  const Served served(NanoOptions());
  v1::ScoreRequest request;
  *request.mutable_prompt() =
      AskImages({Picture("owl.png")}, "What is this?").prompt();
  request.set_continuation_text("owl");
  const Scores scores = Score(*served.stub, request);
  ASSERT_TRUE(scores.status.ok()) << scores.status.error_message();
  const int32_t text_ids = TheModel(*served.stub).text_vocabulary();
  double text = 0, images = 0;
  const int prompt = scores.summary.usage().prompt_tokens();
  for (int i = 1; i < prompt; ++i) {
    const v1::Token& token = scores.tokens[i];
    (token.id() < text_ids ? text : images) += double{token.logprob()};
  }
  EXPECT_NE(images, 0);
  EXPECT_NEAR(scores.summary.prompt_logprob(), text, 1e-9);
  EXPECT_NE(scores.summary.continuation_logprob(), 0);
}

}  // namespace
}  // namespace lapidary
