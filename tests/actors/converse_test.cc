// Conversations on one stream: sound that comes in pieces is answered as the
// whole file is, and whatever a client does wrong or stops doing frees all that
// it held.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/actors/media_cases.h"
#include "tests/actors/nano_node.h"
#include "tests/actors/served.h"
#include "tests/actors/talk.h"

namespace lapidary {
namespace {

using testing::HasSubstr;
using Code = grpc::StatusCode;

TEST(ConverseTest, SoundInPieces_IsAnsweredAsTheFile) {
  const Served served;
  std::mt19937 random(1);
  for (const auto& [file, question, said] :
       std::vector<std::array<std::string, 3>>{
           {"candle_en.wav", "Transcribe.", "candle"},
           {"dog_de.wav", "Translate this to Spanish.", "perro"}}) {
    const Answer whole =
        Generate(*served.stub, AskSounds({Medium(file)}, question));
    ASSERT_EQ(whole.text, said) << whole.status.error_message();
    for (const size_t bytes :
         std::vector<size_t>{3200, 777, 40000, 1 + random() % 5000}) {
      Talk talk(served);
      talk.PcmInPieces(PcmOf(Medium(file)), bytes);
      talk.Text(question);
      EXPECT_EQ(talk.Answer(), said) << bytes;
      ASSERT_EQ(talk.ids, whole.ids());
      for (size_t i = 0; i < talk.ids.size(); ++i) {
        EXPECT_NEAR(talk.logprobs[i], whole.tokens[i].logprob(), 2e-4);
      }
      EXPECT_EQ(talk.done.final().usage().prompt_tokens(),
                whole.final.usage().prompt_tokens());
      EXPECT_EQ(talk.done.sound_tokens(),
                SoftTokens(PcmOf(Medium(file)).size() / sizeof(int16_t)));
      EXPECT_TRUE(talk.progress.back().end_of_turn());
      EXPECT_EQ(talk.progress.back().tokens(), talk.done.sound_tokens());
      EXPECT_TRUE(talk.Finish().ok());
    }
  }
  EXPECT_TRUE(AllFreed(served));
}

TEST(ConverseTest, OtherRatesAndFloats_AreTheSameWord) {
  const Served served;
  const std::string pcm = PcmOf(Medium("candle_en.wav"));
  std::string twice;  // 32 kHz, two channels
  std::string floats;
  for (size_t i = 0; i + 1 < pcm.size(); i += 2) {
    for (int copy = 0; copy < 4; ++copy) twice += pcm.substr(i, 2);
    const auto value =
        static_cast<int16_t>(static_cast<unsigned char>(pcm[i]) |
                             (static_cast<unsigned char>(pcm[i + 1]) << 8));
    const float sample = static_cast<float>(value) / 32768;
    floats.append(reinterpret_cast<const char*>(&sample), sizeof sample);
  }
  v1::ConverseStart start = Greedy();
  start.mutable_pcm()->set_rate(32000);
  start.mutable_pcm()->set_channels(2);
  Talk stereo(served, start);
  stereo.PcmInPieces(twice, 1001);
  stereo.Text("Transcribe.");
  EXPECT_EQ(stereo.Answer(), "candle");
  start = Greedy();
  start.mutable_pcm()->set_encoding(v1::PcmFormat::ENCODING_F32);
  Talk floating(served, start);
  floating.PcmInPieces(floats, 4099);
  floating.Text("Transcribe.");
  EXPECT_EQ(floating.Answer(), "candle");
}

TEST(ConverseTest, PicturesFilesAndSound_StandInTheOrderInWhichTheyCame) {
  const Served served;
  for (const MediaCase& c : SoundCases()) {
    if (c.chat.messages_size() != 1) continue;
    Talk talk(served);
    for (const v1::Part& part : c.chat.messages(0).parts()) {
      // Every other sound as a file.
      if (part.has_audio() && c.sounds == 1) {
        talk.PcmInPieces(PcmOf(part.audio().data()), 3000);
      } else {
        talk.Part(part);
      }
    }
    talk.EndOfTurn();
    ASSERT_TRUE(talk.ReadTurn()) << talk.Finish().error_message();
    EXPECT_EQ(talk.done.final().usage().prompt_tokens(),
              static_cast<int32_t>(c.ids.size()))
        << c.name;
    EXPECT_EQ(talk.ids, c.greedy) << c.name;
  }
}

TEST(ConverseTest, NextTurn_RemembersTheLast) {
  const Served served;
  const std::vector<MediaCase> cases = SoundCases();
  const auto turns = std::find_if(
      cases.begin(), cases.end(),
      [](const MediaCase& c) { return c.chat.messages_size() > 1; });
  ASSERT_NE(turns, cases.end());
  Talk talk(served);
  for (const v1::Message& message : turns->chat.messages()) {
    if (message.role() != "user") {
      // What Hugging Face was told that the model had answered.
      EXPECT_EQ(talk.text, message.parts(0).text());
      continue;
    }
    for (const v1::Part& part : message.parts()) {
      if (part.has_audio()) {
        talk.PcmInPieces(PcmOf(part.audio().data()), 3000);
      } else {
        talk.Part(part);
      }
    }
    talk.EndOfTurn();
    ASSERT_TRUE(talk.ReadTurn()) << talk.Finish().error_message();
  }
  EXPECT_EQ(talk.done.final().usage().prompt_tokens(),
            static_cast<int32_t>(turns->ids.size()));
  EXPECT_EQ(talk.ids, turns->greedy);
  EXPECT_TRUE(talk.Finish().ok());
}

TEST(ConverseTest, ContextThatIsFull_ForgetsTheFirstTurns) {
  const Served served;
  Talk talk(served);
  int answered = 0;
  int prompt = 0;  // of the turn before
  while (talk.done.forgotten_turns() == 0 && answered < 40) {
    v1::Part part;
    part.mutable_audio()->set_data(Medium("candle_en.wav"));
    for (int copy = 0; copy < 8; ++copy) talk.Part(part);
    talk.Text("Transcribe.");
    talk.EndOfTurn();
    ASSERT_TRUE(talk.ReadTurn()) << talk.Finish().error_message();
    ++answered;
    const v1::Usage& usage = talk.done.final().usage();
    if (talk.done.forgotten_turns() == 0) {
      // Keys and values of all turns before, their sounds among them.
      EXPECT_GE(usage.cached_prompt_tokens(), prompt / 64 * 64);
    }
    prompt = usage.prompt_tokens();
  }
  EXPECT_GT(answered, 3);
  EXPECT_GT(talk.done.forgotten_turns(), 0);
  EXPECT_LE(talk.done.final().usage().prompt_tokens(), 4096);
}

TEST(ConverseTest, SilenceEndsTurns_IfAskedTo) {
  const Served served;
  v1::ConverseStart start = Greedy();
  start.mutable_endpointing()->set_silence_ms(300);
  Talk talk(served, start);
  talk.Text("Transcribe.");
  talk.PcmInPieces(PcmOf(Medium("candle_en.wav")), 3200);
  // The file's own silence may have ended it; what follows is not heard.
  talk.PcmInPieces(std::string(16000, '\0'), 3200);
  ASSERT_TRUE(talk.ReadTurn()) << talk.Finish().error_message();
  EXPECT_EQ(talk.text, "candle");
  EXPECT_TRUE(talk.progress.back().end_of_turn());
}

TEST(ConverseTest, SilenceAlone_IsNoTurn) {
  const Served served;
  v1::ConverseStart start = Greedy();
  start.mutable_endpointing()->set_silence_ms(300);
  Talk talk(served, start);
  talk.Text("Transcribe.");
  talk.PcmInPieces(std::string(2 * 16000 * 2, '\0'), 3200);
  EXPECT_TRUE(talk.Finish().ok());
  EXPECT_TRUE(talk.text.empty());
  EXPECT_FALSE(talk.done.has_final());
  EXPECT_TRUE(AllFreed(served));
}

TEST(ConverseTest, MessagesOutOfOrder_AreNamed) {
  const Served served;
  {
    grpc::ClientContext context;
    auto stream = served.stub->Converse(&context);
    v1::ConverseRequest request;
    request.set_pcm("1234");
    stream->Write(request);
    stream->WritesDone();
    const grpc::Status status = stream->Finish();
    EXPECT_EQ(status.error_code(), Code::FAILED_PRECONDITION);
    EXPECT_THAT(status.error_message(), HasSubstr("start"));
  }
  {
    v1::ConverseStart start = Greedy();
    start.mutable_request()->set_max_tokens(2000);
    start.mutable_request()->set_ignore_eos(true);
    Talk talk(served, start);
    talk.Text("Tell me about the owl.");
    talk.EndOfTurn();
    talk.Pcm(std::string(3200, '\0'));
    const grpc::Status status = talk.Finish();
    EXPECT_EQ(status.error_code(), Code::FAILED_PRECONDITION)
        << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr("after end_of_turn"));
  }
  {
    Talk talk(served);
    talk.EndOfTurn();
    EXPECT_THAT(talk.Finish().error_message(), HasSubstr("the turn is empty"));
  }
  EXPECT_TRUE(AllFreed(served));
}

TEST(ConverseTest, BadSound_IsNamed) {
  const Served served;
  {
    Talk talk(served);  // ends within a sample
    talk.Pcm(std::string(3201, '\1'));
    talk.Text("Transcribe.");
    EXPECT_EQ(talk.Finish().error_code(), Code::INVALID_ARGUMENT);
  }
  {
    v1::ConverseStart start = Greedy();
    start.mutable_pcm()->set_encoding(v1::PcmFormat::ENCODING_F32);
    Talk talk(served, start);
    talk.Pcm(std::string("\x00\x00\xC0\x7F", 4));
    EXPECT_EQ(talk.Finish().error_code(), Code::INVALID_ARGUMENT);
  }
  for (const int rate : {100, 1000000}) {
    v1::ConverseStart start = Greedy();
    start.mutable_pcm()->set_rate(rate);
    Talk talk(served, start);
    talk.Pcm(std::string(3200, '\1'));
    EXPECT_EQ(talk.Finish().error_code(), Code::INVALID_ARGUMENT) << rate;
  }
  for (const int channels : {-1, 9}) {  // before there is any pcm
    v1::ConverseStart start = Greedy();
    start.mutable_pcm()->set_channels(channels);
    Talk talk(served, start);
    EXPECT_THAT(talk.Finish().error_message(), HasSubstr("start.pcm.channels"));
  }
  {
    v1::ConverseStart start = Greedy();
    start.mutable_request()->mutable_sampling()->set_top_p(7);
    Talk talk(served, start);
    EXPECT_THAT(talk.Finish().error_message(), HasSubstr("top_p"));
  }
  EXPECT_TRUE(AllFreed(served));
}

TEST(ConverseTest, ClientThatSendsNothing_IsGivenUp) {
  const Served served;
  v1::ConverseStart start = Greedy();
  start.set_idle_timeout_ms(150);
  Talk talk(served, start);
  talk.Pcm(std::string(32000, '\1'));
  EXPECT_FALSE(talk.ReadTurn());
  const grpc::Status status = talk.Finish();
  EXPECT_EQ(status.error_code(), Code::DEADLINE_EXCEEDED)
      << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("150 ms"));
  EXPECT_TRUE(AllFreed(served));
}

TEST(ConverseTest, ClientThatVanishes_FreesAll) {
  const Served served;
  for (const bool answering : {false, true}) {
    v1::ConverseStart start = Greedy();
    start.mutable_request()->set_max_tokens(3000);
    start.mutable_request()->set_ignore_eos(true);
    Talk talk(served, start);
    talk.Pcm(PcmOf(Medium("candle_en.wav")));
    if (answering) {
      talk.Text("Transcribe.");
      talk.EndOfTurn();
      EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
        return status.queue().running() == 1;
      }));
    } else {
      EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
        return status.audio().live() == 1;
      }));
    }
    talk.Vanish();
    EXPECT_TRUE(AllFreed(served));
  }
}

TEST(ConverseTest, Cancel_DropsTheTurn_AndTheNextIsAnswered) {
  const Served served;
  v1::ConverseStart start = Greedy();
  Talk talk(served, start);
  talk.Pcm(PcmOf(Medium("dog_de.wav")));
  talk.Cancel();
  ASSERT_TRUE(talk.ReadTurn());
  EXPECT_EQ(talk.done.final().stop_reason(), v1::STOP_REASON_CANCELLED);
  talk.PcmInPieces(PcmOf(Medium("candle_en.wav")), 3200);
  talk.Text("Transcribe.");
  EXPECT_EQ(talk.Answer(), "candle");
  EXPECT_EQ(talk.done.final().usage().prompt_tokens(), 46)
      << "the cancelled turn is forgotten";
  EXPECT_TRUE(talk.Finish().ok());
}

TEST(ConverseTest, CancelledAnswer_EndsWhereItIs) {
  const Served served;
  v1::ConverseStart start = Greedy();
  start.mutable_request()->set_max_tokens(3000);
  start.mutable_request()->set_ignore_eos(true);
  Talk talk(served, start);
  talk.Text("Tell me about the owl.");
  talk.EndOfTurn();
  EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.queue().running() == 1;
  }));
  talk.Cancel();
  ASSERT_TRUE(talk.ReadTurn());
  EXPECT_EQ(talk.done.final().stop_reason(), v1::STOP_REASON_CANCELLED);
  EXPECT_LT(talk.ids.size(), 3000u);
  EXPECT_TRUE(talk.Finish().ok());
  EXPECT_TRUE(AllFreed(served));
}

TEST(ConverseTest, ManyAtOnce_AreEachAnsweredAsAlone) {
  NodeOptions options = NanoOptions();
  options.threads = 2;
  const Served served(options);
  const struct {
    const char* file;
    const char* question;
    const char* said;
  } words[] = {{"candle_en.wav", "Transcribe.", "candle"},
               {"dog_de.wav", "Translate this to Spanish.", "perro"},
               {"umbrella_es.wav", "Translate this to English.", "umbrella"}};
  std::vector<std::thread> talkers;
  for (int i = 0; i < 12; ++i) {
    talkers.emplace_back([&, i] {
      const auto& word = words[i % 3];
      Talk talk(served);
      talk.PcmInPieces(PcmOf(Medium(word.file)), 1600 + 100 * i);
      talk.Text(word.question);
      EXPECT_EQ(talk.Answer(), word.said);
    });
  }
  for (std::thread& talker : talkers) talker.join();
  EXPECT_TRUE(AllFreed(served));
}

// 300 ms wait for more; as soon as another sound has enough for a batch, they
// are in it.
TEST(ConverseTest, SoundsThatWait_ShareABatch) {
  const Served served;
  const std::string pcm = PcmOf(Medium("candle_en.wav"));
  const size_t some = 2 * 16000 * 3 / 10;
  ASSERT_GT(pcm.size(), 3 * some);
  Talk first(served), second(served);
  first.Pcm(pcm.substr(0, some));
  ASSERT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.audio().live_waiting_seconds() > 0.25;
  }));
  EXPECT_EQ(GetStatus(*served.stub).audio().live_batches(), 0u);
  second.Pcm(pcm.substr(0, 2 * some));
  ASSERT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.audio().live_batches() > 0 &&
           status.audio().live_waiting_seconds() < 0.1;
  }));
  const v1::AudioTower audio = GetStatus(*served.stub).audio();
  EXPECT_EQ(audio.live_batches(), 1u);
  EXPECT_EQ(audio.live_batch_sounds(), 2u);
  first.Pcm(pcm.substr(some));
  second.Pcm(pcm.substr(2 * some));
  for (Talk* talk : {&first, &second}) {
    talk->Text("Transcribe.");
    EXPECT_EQ(talk->Answer(), "candle");
  }
}

// One of those in a batch vanishes; the others' words are what they were.
TEST(ConverseTest, SoundThatGoesInTheMiddleOfABatch_TakesNothingWithIt) {
  NodeOptions options = NanoOptions();
  options.threads = 2;
  const Served served(options);
  const std::string pcm = PcmOf(Medium("candle_en.wav"));
  for (int round = 0; round < 10; ++round) {
    Talk stays(served);
    {
      std::vector<std::unique_ptr<Talk>> gone;
      for (int i = 0; i < 4; ++i) {
        gone.push_back(std::make_unique<Talk>(served));
        gone.back()->Pcm(pcm);
      }
      stays.Pcm(pcm);
      for (const auto& talk : gone) talk->Vanish();
    }
    stays.Text("Transcribe.");
    EXPECT_EQ(stays.Answer(), "candle");
  }
  EXPECT_TRUE(AllFreed(served));
}

TEST(ConverseTest, LostActor_EndsTheCall_AndTheNextIsAnswered) {
  const Served served;
  Talk talk(served);
  talk.Pcm(PcmOf(Medium("candle_en.wav")));
  EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.audio().live() == 1;
  }));
  ASSERT_TRUE(served.node->KillRole("audio").ok());
  talk.Text("Transcribe.");
  talk.EndOfTurn();
  EXPECT_FALSE(talk.ReadTurn());
  EXPECT_EQ(talk.Finish().error_code(), Code::UNAVAILABLE);
  EXPECT_TRUE(WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.has_audio();
  }));
  Talk again(served);
  again.Pcm(PcmOf(Medium("candle_en.wav")));
  again.Text("Transcribe.");
  EXPECT_EQ(again.Answer(), "candle");
}

TEST(ConverseTest, AClientThatOnlySends_IsReadNoFurther) {
  Served served;
  // With small windows, so that little is on its way.
  grpc::ChannelArguments small;
  small.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  small.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1 << 16);
  served.stub = v1::Lapidary::NewStub(
      grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", served.node->port()),
                                grpc::InsecureChannelCredentials(), small));
  v1::ConverseStart start = Greedy();
  start.set_idle_timeout_ms(3000);
  Talk talk(served, start);
  // Each is answered by a `done` that the client does not read.
  std::atomic<int> sent{0};
  std::thread sender([&] {
    const std::string text(1000, 'x');
    while (sent < 200000 && talk.Text(text) && talk.Cancel()) ++sent;
  });
  int before = -1;
  while (before != sent) {
    before = sent;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  EXPECT_LT(sent, 200000);
  // It is given up when it reads nothing for as long as it may be silent.
  sender.join();
  talk.ReadToTheEnd();
  EXPECT_TRUE(AllFreed(served));
}

TEST(ConverseTest, MoreSoundThanATurnMayHave_IsRefused) {
  const Served served;
  Talk talk(served);
  // 16 minutes, faster than anybody speaks: the node makes the client wait.
  const std::string piece(2 * 16000 * 10, '\0');
  // Within a process gRPC's Write waits on for room in a call that has ended.
  grpc::Status status;
  std::thread reader([&] {
    status = talk.ReadToTheEnd();
    talk.Vanish();
  });
  for (int i = 0; i < 96 && talk.Pcm(piece); ++i) {
  }
  reader.join();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.error_message(), HasSubstr("600"));
  EXPECT_TRUE(AllFreed(served));
  Talk at_once(served);
  at_once.Pcm(piece + std::string(2, '\0'));
  EXPECT_THAT(at_once.Finish().error_message(),
              HasSubstr("one message, at most 10"));
}

}  // namespace
}  // namespace lapidary
