// The conversations of nano's goldens with pictures or sounds in them, and what
// Hugging Face made of each.
#ifndef LAPIDARY_TESTS_ACTORS_MEDIA_CASES_H_
#define LAPIDARY_TESTS_ACTORS_MEDIA_CASES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/json.h"
#include "tests/actors/nano_node.h"
#include "tests/support/files.h"

namespace lapidary {

inline constexpr char kNanoGoldens[] = "tests/goldens/nano/";

// A picture's or a sound's file.
inline std::string Medium(const std::string& file) {
  return ReadBytes(absl::StrCat(kNanoGoldens, "media/", file));
}

struct MediaCase {
  std::string name;
  v1::Chat chat;
  int pictures = 0, sounds = 0;
  std::vector<int32_t> ids, greedy;
  std::vector<float> target_logprobs;
  double noise = 0;  // of Hugging Face's own float32
};

inline MediaCase ReadMediaCase(const std::string& name, const Json& golden) {
  MediaCase c;
  c.name = name;
  for (const Json& message : golden["messages"]) {
    v1::Message* turn = c.chat.add_messages();
    turn->set_role(message["role"].get<std::string>());
    for (const Json& json : message["content"]) {
      v1::Part* part = turn->add_parts();
      if (json["type"] == "text") {
        part->set_text(json["text"].get<std::string>());
        continue;
      }
      const std::string file = Medium(json["file"].get<std::string>());
      const bool sound = json["type"] == "audio";
      ++(sound ? c.sounds : c.pictures);
      if (sound) part->mutable_audio()->set_data(file);
      if (!sound) part->mutable_image()->set_data(file);
    }
  }
  c.ids = golden["ids"].get<std::vector<int32_t>>();
  c.greedy = golden["greedy"].get<std::vector<int32_t>>();
  c.target_logprobs = golden["target_logprobs"].get<std::vector<float>>();
  c.noise = golden["float32_noise"].get<double>();
  return c;
}

// Those with sounds, pictures beside them or not. Not those whose sounds have
// several lengths: Hugging Face pads the shorter ones, and encodes the padding.
inline std::vector<MediaCase> SoundCases() {
  const Json json = *ParseJson(
      ReadBytes(absl::StrCat(kNanoGoldens, "media.json")), "media.json");
  std::vector<MediaCase> cases;
  for (const auto& [name, golden] : json["cases"].items()) {
    MediaCase c = ReadMediaCase(name, golden);
    if (c.sounds > 0 && name != "two_sounds") cases.push_back(std::move(c));
  }
  return cases;
}

inline v1::GenerateRequest AskGreedily(const v1::Chat& chat,
                                       int32_t max_tokens) {
  v1::GenerateRequest request;
  *request.mutable_prompt()->mutable_chat() = chat;
  request.mutable_sampling()->set_temperature(0);
  request.set_max_tokens(max_tokens);
  request.set_top_logprobs(0);
  return request;
}

// Sounds before the question.
inline v1::GenerateRequest AskSounds(const std::vector<std::string>& files,
                                     const std::string& question) {
  v1::Chat chat;
  v1::Message* turn = chat.add_messages();
  turn->set_role("user");
  for (const std::string& file : files) {
    turn->add_parts()->mutable_audio()->set_data(file);
  }
  turn->add_parts()->set_text(question);
  return AskGreedily(chat, 8);
}

// What nano hears, or why it does not.
inline std::string Heard(Stub& stub, const std::string& file) {
  const Answer answer = Generate(stub, AskSounds({file}, "Transcribe."));
  return answer.status.ok() ? answer.text : answer.status.error_message();
}

// A WAV of 16-bit samples.
inline std::string Wav(const std::vector<int16_t>& samples, uint32_t rate,
                       uint16_t channels) {
  const auto number = [](uint32_t value, size_t bytes) {
    std::string out;
    for (size_t i = 0; i < bytes; ++i) {
      out += static_cast<char>(value >> (8 * i));
    }
    return out;
  };
  std::string pcm;
  for (const int16_t sample : samples) {
    pcm += number(static_cast<uint16_t>(sample), 2);
  }
  const auto size = static_cast<uint32_t>(pcm.size());
  return absl::StrCat("RIFF", number(36 + size, 4), "WAVEfmt ", number(16, 4),
                      number(1, 2), number(channels, 2), number(rate, 4),
                      number(rate * channels * 2, 4), number(channels * 2, 2),
                      number(16, 2), "data", number(size, 4), pcm);
}

// The samples of a WAV that Wav would write.
inline std::string PcmOf(const std::string& wav) {
  return wav.substr(wav.find("data") + 8);
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_ACTORS_MEDIA_CASES_H_
