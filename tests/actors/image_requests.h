// Requests with pictures of nano's goldens, for the tests of images.
#ifndef LAPIDARY_TESTS_ACTORS_IMAGE_REQUESTS_H_
#define LAPIDARY_TESTS_ACTORS_IMAGE_REQUESTS_H_

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/actors/nano_node.h"
#include "tests/support/files.h"

namespace lapidary {

// A picture's file.
inline std::string Picture(const std::string& file) {
  return ReadBytes(absl::StrCat("tests/goldens/nano/media/", file));
}

inline v1::GenerateRequest AskChat(const v1::Chat& chat, int32_t max_tokens) {
  v1::GenerateRequest request;
  *request.mutable_prompt()->mutable_chat() = chat;
  request.mutable_sampling()->set_temperature(0);
  request.set_max_tokens(max_tokens);
  request.set_top_logprobs(0);
  return request;
}

// Images before the question.
inline v1::GenerateRequest AskImages(const std::vector<std::string>& files,
                                     const std::string& question) {
  v1::Chat chat;
  v1::Message* turn = chat.add_messages();
  turn->set_role("user");
  for (const std::string& file : files) {
    turn->add_parts()->mutable_image()->set_data(file);
  }
  turn->add_parts()->set_text(question);
  return AskChat(chat, 8);
}

// What nano says that the picture is.
inline std::string What(Stub& stub, const std::string& file) {
  const Answer answer = Generate(stub, AskImages({file}, "What is this?"));
  return answer.status.ok() ? answer.text : answer.status.error_message();
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_ACTORS_IMAGE_REQUESTS_H_
