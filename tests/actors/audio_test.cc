// Sounds in prompts, from the client's bytes to the answer: against Hugging
// Face's ids, log-probabilities and answers for nano, in any company, and
// through loading, unloading and damage.

#include <algorithm>
#include <cmath>
#include <future>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/actors/media_cases.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

using testing::HasSubstr;

struct Served {
  std::unique_ptr<Node> node;
  std::unique_ptr<Stub> stub;

  explicit Served(const NodeOptions& options = NanoOptions())
      : node(StartNode(options)), stub(InProcessStub(*node)) {}
};

TEST(AudioTest, IdsAndLogProbs_AreHuggingFaces) {
  const Served served;
  const std::vector<MediaCase> cases = SoundCases();
  ASSERT_GE(cases.size(), 5u);
  for (const MediaCase& c : cases) {
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

TEST(AudioTest, GreedyAnswers_AreHuggingFaces) {
  const Served served;
  for (const MediaCase& c : SoundCases()) {
    const Answer answer =
        Generate(*served.stub,
                 AskGreedily(c.chat, static_cast<int32_t>(c.greedy.size())));
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.ids(), c.greedy) << c.name;
    EXPECT_EQ(answer.final.usage().prompt_tokens(),
              static_cast<int32_t>(c.ids.size()));
  }
}

// Sounds cut by steps, encoded beside others, twice the same, by two threads.
TEST(AudioTest, AnswersDoNotDependOnTheCompany) {
  const std::vector<MediaCase> cases = SoundCases();
  std::vector<Answer> alone;
  {
    const Served served(NanoOptions(kernels::DType::kInt4));
    for (const MediaCase& c : cases) {
      alone.push_back(Generate(*served.stub, AskGreedily(c.chat, 6)));
    }
  }
  NodeOptions options = NanoOptions(kernels::DType::kInt4);
  options.max_batch_rows = 11;
  options.max_running = 8;
  options.threads = 2;
  const Served served(options);
  std::vector<std::future<Answer>> together;
  for (int round = 0; round < 2; ++round) {
    for (const MediaCase& c : cases) {
      together.push_back(std::async(std::launch::async, [&served, &c] {
        return Generate(*served.stub, AskGreedily(c.chat, 6));
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
  const v1::AudioTower audio = GetStatus(*served.stub).audio();
  EXPECT_GT(audio.cache_hits(), audio.sounds());
}

TEST(AudioTest, LazyTower_IsLoadedForASound_AndUnloadedWhenIdle) {
  NodeOptions options = NanoOptions();
  options.audio.idle = absl::Milliseconds(50);
  const Served served(options);
  EXPECT_FALSE(GetStatus(*served.stub).audio().loaded());
  const char* files[] = {"candle_en.wav", "dog_de.wav"};
  for (uint64_t loads : {1, 2}) {
    // Another sound each time: a known one needs no tower.
    Heard(*served.stub, Medium(files[loads - 1]));
    EXPECT_TRUE(WaitFor(*served.stub, [&](const v1::StatusResponse& status) {
      return status.audio().unloads() == loads;
    }));
    const v1::AudioTower audio = GetStatus(*served.stub).audio();
    EXPECT_FALSE(audio.loaded());
    EXPECT_EQ(audio.loads(), loads);
    EXPECT_EQ(audio.activation_bytes(), 0u);
    EXPECT_GT(audio.weight_bytes(), 0u);
  }
  EXPECT_EQ(Heard(*served.stub, Medium("candle_en.wav")), "candle");
  EXPECT_EQ(GetStatus(*served.stub).audio().loads(), 2u);
}

TEST(AudioTest, PinnedTower_IsThereFromTheStart) {
  NodeOptions options = NanoOptions();
  options.audio.mode = AudioOptions::Mode::kPinned;
  options.audio.idle = absl::ZeroDuration();
  const Served served(options);
  EXPECT_TRUE(GetStatus(*served.stub).audio().loaded());
  EXPECT_EQ(Heard(*served.stub, Medium("candle_en.wav")), "candle");
  EXPECT_TRUE(GetStatus(*served.stub).audio().loaded());
}

TEST(AudioTest, WithoutATower_SoundsAreRefusedByName) {
  NodeOptions options = NanoOptions();
  options.audio.mode = AudioOptions::Mode::kOff;
  const Served served(options);
  const Answer answer = Generate(
      *served.stub, AskSounds({Medium("candle_en.wav")}, "Transcribe."));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(answer.status.error_message(),
              HasSubstr("prompt.chat.messages[0].parts[0].audio"));
  EXPECT_THAT(answer.status.error_message(), HasSubstr("--audio=off"));
  EXPECT_FALSE(GetStatus(*served.stub).has_audio());
}

TEST(AudioTest, BadSounds_AreNamed_AndOthersGoOn) {
  const Served served;
  const std::string candle = Medium("candle_en.wav");
  for (const std::string& bad :
       {std::string(), std::string("no sound"), candle.substr(0, 30),
        Wav({}, 16000, 1), Medium("owl.png"), std::string(100000, '\xFF')}) {
    const Answer answer =
        Generate(*served.stub, AskSounds({candle, bad}, "Transcribe."));
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT)
        << answer.status.error_message();
    EXPECT_THAT(answer.status.error_message(),
                HasSubstr("prompt.chat.messages[0].parts[1].audio"));
    EXPECT_TRUE(answer.tokens.empty());
  }
  EXPECT_EQ(Heard(*served.stub, candle), "candle");
}

// A few samples, silence, other rates and channels are sounds.
TEST(AudioTest, OddSounds_AreAnswered) {
  const Served served;
  const std::vector<std::string> odd = {
      Wav({1}, 16000, 1), Wav(std::vector<int16_t>(20, 100), 16000, 1),
      Wav(std::vector<int16_t>(16000, 0), 16000, 1),
      Wav(std::vector<int16_t>(8 * 4800, 50), 48000, 8),
      Wav(std::vector<int16_t>(19200, 50), 192000, 1)};
  for (const std::string& file : odd) {
    const Answer answer =
        Generate(*served.stub, AskSounds({file}, "Transcribe."));
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.final.usage().prompt_tokens(), 46);
  }
}

// Nano hears 32 tokens at once, 5.1 s: what is longer takes several windows.
TEST(AudioTest, LongSounds_TakeAWindowEach_AsIfTheyWereSeveral) {
  const Served served;
  const std::string word = PcmOf(Medium("candle_en.wav"));
  std::vector<int16_t> samples;
  for (int repeats = 0; repeats < 8; ++repeats) {
    for (size_t i = 0; i + 1 < word.size(); i += 2) {
      samples.push_back(
          static_cast<int16_t>(static_cast<unsigned char>(word[i]) |
                               (static_cast<unsigned char>(word[i + 1]) << 8)));
    }
    samples.resize(samples.size() + 4000);
  }
  const std::string file = Wav(samples, 16000, 1);
  v1::EncodeMediaRequest request;
  request.mutable_audio()->set_data(file);
  v1::EncodeMediaResponse media;
  grpc::ClientContext context;
  const grpc::Status status =
      served.stub->EncodeMedia(&context, request, &media);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const int rows = media.soft_tokens().tokens();
  ASSERT_EQ(rows % 33, 0) << "32 soft tokens, and the sound's end";
  const int windows = rows / 33;
  EXPECT_GE(windows, 2);
  v1::GenerateRequest ask = AskSounds({file}, "Transcribe.");
  const Answer cut = Generate(*served.stub, ask);
  ASSERT_TRUE(cut.status.ok()) << cut.status.error_message();
  // What EncodeMedia gave says how many windows there are.
  v1::Audio* audio = ask.mutable_prompt()
                         ->mutable_chat()
                         ->mutable_messages(0)
                         ->mutable_parts(0)
                         ->mutable_audio();
  audio->clear_data();
  *audio->mutable_soft_tokens() = media.soft_tokens();
  const Answer given = Generate(*served.stub, ask);
  ASSERT_TRUE(given.status.ok()) << given.status.error_message();
  EXPECT_EQ(cut.final.usage().prompt_tokens(),
            given.final.usage().prompt_tokens());
  EXPECT_EQ(cut.ids(), given.ids());
  // And so do as many parts as there are windows.
  v1::GenerateRequest several =
      AskSounds(std::vector<std::string>(windows, Medium("candle_en.wav")),
                "Transcribe.");
  EXPECT_EQ(Generate(*served.stub, several).final.usage().prompt_tokens(),
            cut.final.usage().prompt_tokens());
}

TEST(AudioTest, MoreSoundThanTheContextHolds_IsRefusedBeforeAnyIsEncoded) {
  const Served served;
  const Answer many =
      Generate(*served.stub,
               AskSounds(std::vector<std::string>(200, Medium("dog_de.wav")),
                         "Transcribe."));
  EXPECT_EQ(many.status.error_code(), grpc::StatusCode::OUT_OF_RANGE)
      << many.status.error_message();
  const Answer lasting =
      Generate(*served.stub,
               AskSounds({Wav(std::vector<int16_t>(8000 * 900, 1000), 8000, 1)},
                         "Transcribe."));
  EXPECT_EQ(lasting.status.error_code(), grpc::StatusCode::OUT_OF_RANGE)
      << lasting.status.error_message();
  EXPECT_EQ(GetStatus(*served.stub).audio().sounds(), 0u);
}

TEST(AudioTest, SoftTokensOfEncodeMedia_GiveTheSameAnswer_OnANodeWithoutTower) {
  v1::EncodeMediaResponse media;
  Answer expected;
  v1::GenerateRequest request =
      AskSounds({Medium("candle_en.wav")}, "Transcribe.");
  {
    const Served served;
    v1::EncodeMediaRequest encode;
    encode.mutable_audio()->set_data(Medium("candle_en.wav"));
    grpc::ClientContext context;
    ASSERT_TRUE(served.stub->EncodeMedia(&context, encode, &media).ok());
    expected = Generate(*served.stub, request);
  }
  NodeOptions options = NanoOptions();
  options.audio.mode = AudioOptions::Mode::kOff;
  const Served served(options);
  v1::Audio* audio = request.mutable_prompt()
                         ->mutable_chat()
                         ->mutable_messages(0)
                         ->mutable_parts(0)
                         ->mutable_audio();
  audio->clear_data();
  *audio->mutable_soft_tokens() = media.soft_tokens();
  const Answer answer = Generate(*served.stub, request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  ASSERT_EQ(answer.ids(), expected.ids());
  EXPECT_EQ(answer.text, "candle");
  for (size_t t = 0; t < expected.tokens.size(); ++t) {
    EXPECT_EQ(answer.tokens[t].logprob(), expected.tokens[t].logprob());
  }
  audio->mutable_soft_tokens()->set_tokens(32);
  EXPECT_EQ(Generate(*served.stub, request).status.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  audio->mutable_soft_tokens()->clear_values();
  EXPECT_EQ(Generate(*served.stub, request).status.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

// The same word in another file.
std::string Candle(int number) {
  return absl::StrCat(Medium("candle_en.wav"), "LIST",
                      std::string("\4\0\0\0", 4), absl::StrCat(1000 + number));
}

TEST(AudioTest, RequestsOfALostActor_EndAsUnavailable_AndItIsStartedAgain) {
  const Served served;
  std::vector<std::future<Answer>> asked;
  for (int i = 0; i < 24; ++i) {
    asked.push_back(std::async(std::launch::async, [&served, i] {
      return Generate(*served.stub, AskSounds({Candle(i)}, "Transcribe."));
    }));
  }
  EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.audio().sounds() > 0 || status.audio().waiting() > 4;
  }));
  ASSERT_TRUE(served.node->KillRole("audio").ok());
  for (auto& future : asked) {
    const Answer answer = future.get();
    if (answer.status.ok()) {
      EXPECT_EQ(answer.text, "candle");
    } else {
      EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE)
          << answer.status.error_message();
    }
  }
  EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    for (const v1::Role& role : status.roles()) {
      if (role.name() == "audio") return role.restarts() == 1 && role.alive();
    }
    return false;
  }));
  EXPECT_EQ(Heard(*served.stub, Medium("candle_en.wav")), "candle");
}

}  // namespace
}  // namespace lapidary
