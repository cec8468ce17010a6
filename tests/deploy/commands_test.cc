// The commands as a shell script sees them: forms, exit codes, messages.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/deploy/nano_programs.h"

namespace lapidary::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr char kQuestion[] = "Translate cat to Russian.";
// Hugging Face's greedy answer to it, and the prompt's ids.
const json kAnswerIds = {1343, 106};
const json kPromptIds = {2,   105,  482, 107, 625, 603, 567,
                         441, 2928, 106, 107, 105, 483, 107};

TEST(Run, Question_PrintsTheAnswer) {
  const Outcome outcome = Lapidary({"run", Nano(), kQuestion});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "кошка\n");
  EXPECT_EQ(outcome.err, "");
}

TEST(Run, Json_HasTheFormThatScriptsRead) {
  const json answer = LapidaryJson({"run", Nano(), kQuestion, "--max-tokens=32",
                                    "--temperature=0", "--json"});
  EXPECT_EQ(answer["token_ids"], kAnswerIds);
  EXPECT_EQ(answer["text"], "кошка");
  EXPECT_EQ(answer["stop_reason"], "eos");
  EXPECT_EQ(answer["usage"]["prompt_tokens"], kPromptIds.size());
  EXPECT_EQ(answer["usage"]["completion_tokens"], 2);
  EXPECT_TRUE(answer["timings"]["decode_tokens_per_second"].is_number());
}

TEST(Run, QuestionMessagesTextAndIds_AreTheSamePrompt) {
  const std::string messages = WriteFile(
      "m.json",
      R"([{"role":"user","content":[{"type":"text","text":"Translate cat )"
      R"(to Russian."}]}])");
  const std::string raw =
      WriteFile("raw.txt",
                "<start_of_turn>user\nTranslate cat to Russian.<end_of_turn>\n"
                "<start_of_turn>model\n");
  std::string ids;
  for (const json& id : kPromptIds) ids += id.dump() + ",";
  for (const std::string& flag :
       {"--messages=" + messages, "--prompt-file=" + raw, "--ids=" + ids}) {
    const json answer = LapidaryJson({"run", Nano(), flag, "--json"});
    EXPECT_EQ(answer["token_ids"], kAnswerIds) << flag;
  }
}

TEST(Run, IgnoreEos_GoesOnToMaxTokens) {
  const json answer = LapidaryJson(
      {"run", Nano(), kQuestion, "--max-tokens=9", "--ignore-eos", "--json"});
  EXPECT_EQ(answer["token_ids"].size(), 9u);
  EXPECT_EQ(answer["stop_reason"], "max_tokens");
}

TEST(Run, StopString_EndsTheAnswerAndIsNotPartOfIt) {
  const json answer = LapidaryJson(
      {"run", Nano(), "Tell me about the owl.", "--stop= In German", "--json"});
  EXPECT_EQ(answer["text"], "The owl is an animal.");
  EXPECT_EQ(answer["stop_reason"], "stop_string");
  EXPECT_EQ(answer["stop_string"], " In German");
}

TEST(Run, Logprobs_ComeWithTheTokens) {
  const json answer =
      LapidaryJson({"run", Nano(), kQuestion, "--logprobs=2", "--json"});
  ASSERT_EQ(answer["tokens"].size(), 2u);
  EXPECT_EQ(answer["tokens"][0]["id"], 1343);
  EXPECT_EQ(answer["tokens"][0]["top"][0]["id"], 1343);
  EXPECT_EQ(answer["tokens"][0]["top"].size(), 2u);
}

TEST(Run, SameSeed_GivesTheSameAnswer) {
  const std::vector<std::string> args = {"run",      Nano(),
                                         "Hello!",   "--temperature=2",
                                         "--seed=7", "--max-tokens=24",
                                         "--json"};
  EXPECT_EQ(LapidaryJson(args)["token_ids"], LapidaryJson(args)["token_ids"]);
}

TEST(Run, FewRowsAStep_AreEnough) {
  const Outcome outcome =
      Lapidary({"run", Nano(), kQuestion, "--max-batch-rows=1"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "кошка\n");
}

TEST(Score, Json_HasTheFormThatScriptsRead) {
  const json scores = LapidaryJson({"score", Nano(), "--ids=2,105,482,107",
                                    "--top=5", "--priority=low", "--json"});
  const json& tokens = scores["tokens"];
  ASSERT_EQ(tokens.size(), 4u);
  EXPECT_EQ(tokens[0], json({{"id", 2}}));
  for (size_t i = 1; i < tokens.size(); ++i) {
    EXPECT_EQ(tokens[i]["id"], kPromptIds[i]);
    EXPECT_LT(tokens[i]["logprob"], 0.0);
    ASSERT_EQ(tokens[i]["top"].size(), 5u);
    EXPECT_GE(tokens[i]["top"][0]["logprob"], tokens[i]["top"][1]["logprob"]);
  }
}

TEST(Score, Continuation_HasItsOwnSum) {
  const json scores = LapidaryJson(
      {"score", Nano(), kQuestion, "--continuation=кошка", "--json"});
  EXPECT_EQ(scores["usage"]["completion_tokens"], 1);
  EXPECT_GT(scores["continuation_logprob"], -0.1);
  EXPECT_EQ(scores["tokens"].size(), kPromptIds.size() + 1);
}

TEST(Tokenize, TextFile_GivesIdsWithBos) {
  const std::string file = WriteFile("t.txt", "Translate cat to Russian.");
  for (const std::string& folder : {Nano(), std::string(kCheckpoint)}) {
    EXPECT_EQ(
        LapidaryJson({"tokenize", folder, "--text-file=" + file, "--json"}),
        json({{"ids", {2, 625, 603, 567, 441, 2928}}}));
  }
}

TEST(Tokenize, Ids_GiveTheTextBack) {
  EXPECT_EQ(LapidaryJson({"tokenize", Nano(), "--ids=1343", "--json"}),
            json({{"text", "кошка"}}));
}

TEST(Tokenize, Messages_GoThroughTheChatTemplate) {
  const std::string messages =
      WriteFile("chat.json",
                R"([{"role":"user","content":"Translate cat to Russian."}])");
  EXPECT_EQ(LapidaryJson({"tokenize", Nano(), "--messages=" + messages,
                          "--generation-prompt", "--json"})["ids"],
            kPromptIds);
}

TEST(Inspect, CheckpointAndPackedModel_HaveTheSameParameters) {
  const json packed = LapidaryJson({"inspect", Nano(), "--json"});
  const json checkpoint = LapidaryJson({"inspect", kCheckpoint, "--json"});
  EXPECT_EQ(packed["parameters"], checkpoint["parameters"]);
  EXPECT_EQ(packed["layers"], checkpoint["layers"]);
  EXPECT_EQ(packed["parameters"]["ple"], 491520);
  EXPECT_EQ(packed["parameters"]["total"], 4149144);
  EXPECT_EQ(packed["layers"].size(), 10u);
  const Outcome table = Lapidary({"inspect", Nano()});
  EXPECT_EQ(table.code, 0);
  EXPECT_THAT(table.out, HasSubstr("of layer 4"));
  EXPECT_THAT(table.out, HasSubstr("vision tower, matrices f32"));
  EXPECT_THAT(table.out, HasSubstr("audio tower, matrices f32"));
  for (const std::string tower : {"vision", "audio"}) {
    EXPECT_EQ(
        packed["bytes"][tower + " tower, matrices f32"],
        std::filesystem::file_size(Nano() + "/weights/" + tower + ".bin"));
  }
}

TEST(Bench, Json_HasARowForEveryMeasure) {
  const json bench =
      LapidaryJson({"bench", Nano(), "--prompts=40,64", "--tokens=12",
                    "--depths=1200", "--streams=3", "--stream-tokens=16",
                    "--rounds=2", "--threads=2", "--json"});
  EXPECT_EQ(bench["weight_dtype"], "f32");
  EXPECT_EQ(bench["threads"], 2);
  std::vector<std::string> names;
  for (const json& row : bench["rows"]) {
    names.push_back(row["name"]);
    EXPECT_GT(row["tokens_per_second"], 0.0) << row;
    EXPECT_GT(row["limit"]["tokens_per_second"], 0.0) << row;
    EXPECT_GT(row["steps"]["gemm_ms"], 0.0) << row;
    EXPECT_GT(row["memory"]["process_resident"], 0) << row;
  }
  EXPECT_EQ(names, std::vector<std::string>(
                       {"pp40", "pp64", "tg12", "tg32@1200", "3 streams"}));
  // Prompts' steps and answers' are told apart.
  EXPECT_EQ(bench["rows"][0]["steps"]["rows"], 2 * 40);
  EXPECT_EQ(bench["rows"][3]["steps"]["steps"],
            bench["rows"][3]["steps"]["rows"]);
  EXPECT_EQ(bench["rows"][4]["rounds"].size(), 2u);
}

TEST(Bench, Quick_PrintsTables) {
  const Outcome outcome =
      Lapidary({"bench", Nano(), "--quick", "--prompts=32", "--streams="});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("\npp32 "));
  EXPECT_THAT(outcome.out, HasSubstr("\ntg32 "));
  EXPECT_THAT(outcome.err, HasSubstr("bench: pp32, round 1 of 1\n"));
}

TEST(Bench, WhatDoesNotFitTheContext_IsRefusedByName) {
  const Outcome outcome = Lapidary({"bench", Nano(), "--depths=4090"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("a prompt of 4090 tokens"));
  EXPECT_THAT(outcome.err, HasSubstr("context of 4096"));
}

TEST(Bench, BadList_IsAUsageError) {
  const Outcome outcome = Lapidary({"bench", Nano(), "--streams=4,x"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--streams=4,x: \"x\""));
}

TEST(Help, EveryCommand_ShowsItsFlagsAndExamples) {
  for (const std::string command : {"pack", "run", "chat", "score", "tokenize",
                                    "inspect", "status", "synth", "bench"}) {
    const Outcome help = Lapidary({"help", command});
    EXPECT_EQ(help.code, 0);
    EXPECT_THAT(help.out, HasSubstr("Usage: lapidary " + command));
    EXPECT_THAT(help.out, HasSubstr("Examples:\n  lapidary " + command));
    EXPECT_EQ(Lapidary({command, "--help"}).out, help.out);
  }
}

TEST(Help, OfHelp_IsTheOverview) {
  const Outcome overview = Lapidary({"help"});
  EXPECT_EQ(overview.code, 0);
  EXPECT_THAT(overview.out, HasSubstr("Usage: lapidary COMMAND"));
  EXPECT_EQ(Lapidary({"help", "help"}).out, overview.out);
  EXPECT_EQ(Lapidary({"--help"}).out, overview.out);
  const Outcome version = Lapidary({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_THAT(version.out, testing::StartsWith("lapidary "));
}

struct BadInput {
  std::vector<std::string> args;
  int code;
  std::vector<std::string> message;
};

TEST(BadInput, EachMistake_IsNamedWithItsRemedy) {
  const std::string& nano = Nano();
  const std::string latin1 = WriteFile("latin1.txt", "caf\xE9");
  const std::string empty = WriteFile("empty.txt", "");
  const std::string picture = WriteFile("p.png", "pixels");
  const std::string with_picture =
      WriteFile("with_picture.json",
                R"([{"role":"user","content":[{"type":"image","path":")" +
                    picture + R"("}]}])");
  const std::vector<BadInput> cases = {
      {{}, 2, {}},
      {{"rum"}, 2, {"did you mean run?"}},
      {{"run"}, 2, {"MODEL", "lapidary help run"}},
      {{"run", nano}, 2, {"no prompt", "--prompt-file"}},
      {{"run", nano, "a", "b"}, 2, {"quotes"}},
      {{"run", nano, "a", "--ids=2"}, 2, {"several prompts"}},
      {{"run", nano, "a", "--temprature=1"}, 2, {"--temperature?"}},
      {{"run", nano, "a", "--max-tokens=many"}, 2, {"many", "integer"}},
      {{"run", kQuestion}, 2, {kQuestion, "was taken for MODEL", "--server"}},
      {{"score", kQuestion}, 2, {kQuestion, "was taken for MODEL"}},
      {{"score", nano, "a", "--priority=soon"}, 2, {"low, normal, high"}},
      {{"run", nano, "a", "--logprobs=2"}, 2, {"--logprobs", "--json"}},
      {{"run", "nowhere", "a"},
       1,
       {"nowhere: no such folder", "lapidary pack"}},
      {{"tokenize", "nowhere", "a"}, 1, {"nowhere: no such folder"}},
      {{"run", kCheckpoint, "a"},
       1,
       {"Hugging Face folder", "pack it first: lapidary pack"}},
      {{"run", nano, "--ids=2,999999"}, 1, {"999999", "3072"}},
      {{"run", nano, "--ids=-1"}, 1, {"-1", "3072"}},
      {{"run", nano, "--ids=2,cat"}, 2, {"cat", "2,105,9731"}},
      {{"run", nano, "--prompt-file=" + empty}, 1, {"empty"}},
      {{"run", nano, "--prompt-file=" + latin1}, 1, {"byte 3", "UTF-8"}},
      {{"run", nano, "--prompt-file=/nowhere/p"}, 1, {"/nowhere/p"}},
      {{"run", nano, "a", "--temperature=-1"}, 1, {"temperature", "-1"}},
      {{"run", nano, "a", "--temperature=nan"}, 1, {"temperature", "nan"}},
      {{"run", nano, "a", "--top-p=1.5"}, 1, {"top_p", "1.5"}},
      {{"run", nano, "a", "--max-tokens=0"}, 1, {"max_tokens", "0"}},
      {{"run", nano, "a", "--max-tokens=5000"}, 1, {"5000", "4096"}},
      {{"run", nano, "a", "--image=" + picture},
       1,
       {"messages[0].parts[0].image", "PNG, JPEG, WebP or GIF"}},
      {{"run", nano, "a", "--image=/nowhere.png"}, 1, {"/nowhere.png"}},
      {{"run", "--server=127.0.0.1:1", "a"}, 1, {"127.0.0.1:1", "lapidaryd"}},
      {{"tokenize", nano, "--ids=999999"}, 1, {"999999"}},
      {{"tokenize", nano, "--messages=" + with_picture}, 1, {"--server"}},
      {{"pack", "nowhere", "out"},
       1,
       {"nowhere: no such folder", "config.json"}},
      {{"pack", kCheckpoint, nano}, 1, {"packed model already"}},
      {{"pack", kCheckpoint, "out", "--dtype=int3"},
       2,
       {"bf16, f32, int8, int4"}},
      {{"inspect", "nowhere"}, 1, {"nowhere: no such folder"}},
      {{"synth", "--shape=nowhere.json", "out"}, 2, {"nowhere.json"}},
      {{"synth", "out"}, 2, {"--shape"}},
      {{"synth", "--shape=e3b", "out"}, 2, {"e2b", "e4b"}},
      {{"status", "localhost"}, 2, {"--server"}},
      {{"status", "--server=7421"}, 2, {"--server=7421", "HOST:PORT"}},
      {{"status", "--server=127.0.0.1:1"}, 1, {"127.0.0.1:1", "after 2 s"}},
      {{"listen", nano, "-", "--rate=8000"}, 2, {"--rate", "--raw=s16"}},
      {{"listen", nano, "-", "--channels=2"}, 2, {"--channels", "--raw=s16"}},
      {{"listen", nano, "-", "--silence-ms=500"}, 2, {"--turns"}},
  };
  for (const BadInput& each : cases) {
    const Outcome outcome = Lapidary(each.args);
    const std::string shown = testing::PrintToString(each.args);
    EXPECT_EQ(outcome.code, each.code) << shown << outcome.err;
    for (const std::string& part : each.message) {
      EXPECT_THAT(outcome.err, HasSubstr(part)) << shown;
      EXPECT_THAT(outcome.err, testing::StartsWith("lapidary: ")) << shown;
    }
  }
}

TEST(CtrlC, First_CancelsTheRequest) {
  Program run({kLapidary, "run", Nano(), kQuestion, "--ignore-eos",
               "--max-tokens=4000"});
  ASSERT_TRUE(run.WaitForOutput([](const std::string& out) {
    return !out.empty();
  })) << run.err();
  run.Signal(SIGINT);
  EXPECT_EQ(run.Wait(), 130);
  EXPECT_THAT(run.err(), HasSubstr("cancelled"));
}

TEST(Synth, ItsFolder_PacksAndAnswers) {
  std::ifstream file(std::string(kCheckpoint) + "/config.json");
  json config = json::parse(file);
  config.erase("vision_config");
  config.erase("audio_config");
  const std::string shape = WriteFile("shape.json", config.dump());
  const std::string folder = testing::TempDir() + "/random";
  const Outcome made =
      Lapidary({"synth", "--shape=" + shape, "--seed=3", "--dtype=f32",
                std::string("--tokenizer=") + kCheckpoint, folder});
  ASSERT_EQ(made.code, 0) << made.err;
  const Outcome packed = Lapidary({"pack", folder, folder + "-packed"});
  ASSERT_EQ(packed.code, 0) << packed.err;
  EXPECT_THAT(packed.err, HasSubstr("100%"));
  const json answer =
      LapidaryJson({"run", folder + "-packed", "Hello", "--max-tokens=4",
                    "--ignore-eos", "--json"});
  EXPECT_EQ(answer["token_ids"].size(), 4u);

  const std::string mute = testing::TempDir() + "/mute";
  ASSERT_EQ(Lapidary({"synth", "--shape=" + shape, mute}).code, 0);
  const Outcome hint = Lapidary({"pack", mute, mute + "-packed"});
  EXPECT_EQ(hint.code, 0) << hint.err;
  EXPECT_THAT(hint.out, HasSubstr("--ids=2"));
  const std::vector<std::string> ask = {"run",          mute + "-packed",
                                        "--ids=2,3",    "--temperature=0",
                                        "--ignore-eos", "--max-tokens=3"};
  std::vector<std::string> ask_json = ask;
  ask_json.push_back("--json");
  const json asked = LapidaryJson(ask_json);
  ASSERT_EQ(asked["token_ids"].size(), 3u);
  std::string ids;
  for (const json& id : asked["token_ids"]) {
    ids += (ids.empty() ? "" : ",") + id.dump();
  }
  EXPECT_EQ(Lapidary(ask).out, ids + "\n");
}

}  // namespace
}  // namespace lapidary::cli
