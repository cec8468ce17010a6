// lapidaryd, and the commands with --server.
#include <chrono>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/deploy/nano_programs.h"

namespace lapidary::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class ServerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<Server>(); }
  static void TearDownTestSuite() { server_ = nullptr; }

  static json Status() {
    return LapidaryJson({"status", server_->flag(), "--json"});
  }

  static inline std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, AtStart_SaysModelRolesAndMemory) {
  const std::string out = server_->program().out();
  EXPECT_THAT(out, HasSubstr("nano, Gemma3n"));
  EXPECT_THAT(out, HasSubstr("ple_server"));
  EXPECT_THAT(out, HasSubstr("keys and values"));
}

TEST_F(ServerTest, Commands_AnswerAsWithoutAServer) {
  const std::string raw = WriteFile("raw.txt", "The owl is");
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{
           {"run", Nano(), "Tell me about the owl."},
           {"score", Nano(), "--prompt-file=" + raw, "--top=3"},
           {"tokenize", Nano(), "--text-file=" + raw, "--json"},
           {"tokenize", Nano(), "--ids=456,596", "--json"}}) {
    std::vector<std::string> remote = args;
    remote.push_back(server_->flag());
    const Outcome there = Lapidary(remote);
    EXPECT_EQ(there.code, 0) << there.err;
    EXPECT_EQ(there.out, Lapidary(args).out) << args[0];
  }
}

TEST_F(ServerTest, Model_MayBeLeftOutOrNamed) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{
           {"run", server_->flag(), "Translate dog to French."},
           {"run", "nano", server_->flag(), "Translate dog to French."}}) {
    EXPECT_EQ(Lapidary(args).out, "chien\n");
  }
  const Outcome other = Lapidary({"run", "pico", server_->flag(), "Hello"});
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.err, HasSubstr("\"nano\""));
}

TEST_F(ServerTest, Chat_AnswersLineAfterLine) {
  const Outcome chat = Lapidary(
      {"chat", server_->flag(), "--max-tokens=40"},
      "Translate dog to French.\n/reset\n\nTranslate cat to Russian.\n/exit\n"
      "Translate dog to French.\n");
  EXPECT_EQ(chat.code, 0) << chat.err;
  EXPECT_EQ(chat.out, "chien\nкошка\n");
}

TEST_F(ServerTest, Chat_RemembersItsTurns) {
  ASSERT_EQ(Lapidary({"chat", server_->flag(), "--max-tokens=40"},
                     "Translate dog to French.\nTranslate cat to Russian.\n")
                .code,
            0);
  const json before = Status()["queue"];
  Lapidary({"chat", server_->flag(), "--max-tokens=40"},
           "Translate dog to French.\nTranslate dog to French.\n");
  const json after = Status()["queue"];
  // Two prompts of one turn have 28 ids; the second holds the first's turn and
  // its answer as well.
  EXPECT_GT(
      after["prompt_tokens"].get<int>() - before["prompt_tokens"].get<int>(),
      40);
}

TEST_F(ServerTest, CtrlC_CancelsOnTheServerAndFreesPages) {
  const int cancelled = Status()["queue"]["cancelled"];
  Program run({kLapidary, "run", server_->flag(), "Hello", "--ignore-eos",
               "--max-tokens=4000"});
  ASSERT_TRUE(run.WaitForOutput([](const std::string& out) {
    return !out.empty();
  })) << run.err();
  run.Signal(SIGINT);
  EXPECT_EQ(run.Wait(), 130);
  json status = Status();
  for (int tries = 0; tries < 500; ++tries) {
    if (status["memory"]["kv_pages_in_use"] == 0 &&
        status["queue"]["cancelled"] == cancelled + 1) {
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    status = Status();
  }
  EXPECT_EQ(status["queue"]["cancelled"], cancelled + 1);
  EXPECT_EQ(status["memory"]["kv_pages_in_use"], 0);
}

TEST_F(ServerTest, DamagedPicture_IsNamedByItsPart) {
  const std::string picture = WriteFile("p.png", "pixels");
  const Outcome outcome =
      Lapidary({"run", server_->flag(), "What is this?", "--image=" + picture});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("parts[0].image: this is"));
}

TEST_F(ServerTest, Status_IsATableForPeople) {
  const Outcome outcome = Lapidary({"status", server_->flag()});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  for (const char* part : {"model", "roles", "memory", "text weights",
                           "PLE cache", "requests", "kernels"}) {
    EXPECT_THAT(outcome.out, HasSubstr(part));
  }
}

TEST_F(ServerTest, BusyPort_IsNamed) {
  Program second(
      {kLapidaryd, "--model=" + Nano(), "--listen=" + server_->address()});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.err(),
              HasSubstr("lapidaryd: cannot listen on " + server_->address()));
}

TEST(Lapidaryd, BadFlags_AreErrorsOfUsage) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{
           {kLapidaryd},
           {kLapidaryd, "--modl=nano"},
           {kLapidaryd, "nano"},
           {kLapidaryd, "--model=nano", "--listen=7421"},
           {kLapidaryd, "--model=nano", "--kv-memory=lots"}}) {
    Program program(args);
    EXPECT_EQ(program.Wait(), 2) << testing::PrintToString(args);
    EXPECT_THAT(program.err(), HasSubstr("lapidaryd --help"));
  }
}

TEST(Lapidaryd, FlagsThatDoNotGoTogether_AreNamedAsTheyAreGiven) {
  const std::string model = "--model=" + Nano();
  for (const auto& [flags, message] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--max-batch-rows=8", "--max-running=9"},
            "--max-running=9 is above --max-batch-rows=8"},
           {{"--max-slowdown=0.5"}, "--max-slowdown=0.5"},
           {{"--max-slowdown=nan"}, "--max-slowdown=nan"}}) {
    std::vector<std::string> args = {kLapidaryd, model};
    args.insert(args.end(), flags.begin(), flags.end());
    Program program(args);
    EXPECT_EQ(program.Wait(), 2) << message;
    EXPECT_THAT(program.err(), HasSubstr(message));
  }
}

TEST(Lapidaryd, HuggingFaceFolder_IsToldToBePacked) {
  Program program({kLapidaryd, std::string("--model=") + kCheckpoint});
  EXPECT_EQ(program.Wait(), 1);
  EXPECT_THAT(program.err(), HasSubstr("pack it first: lapidary pack"));
}

TEST(Lapidaryd, Sigterm_LetsTheRunningRequestFinish) {
  Server server;
  Program run({kLapidary, "run", server.flag(), "Hello", "--ignore-eos",
               "--max-tokens=400", "--json"});
  json queue;
  for (int tries = 0; tries < 1000 && queue["running"] != 1; ++tries) {
    queue = LapidaryJson({"status", server.flag(), "--json"})["queue"];
    if (queue["completed"] == 1) break;
  }
  server.program().Signal(SIGTERM);
  EXPECT_EQ(run.Wait(), 0) << run.err();
  EXPECT_EQ(json::parse(run.out())["token_ids"].size(), 400u);
  EXPECT_EQ(server.program().Wait(), 0);
  EXPECT_THAT(server.program().out(), HasSubstr("lapidaryd: stopped"));
}

}  // namespace
}  // namespace lapidary::cli
