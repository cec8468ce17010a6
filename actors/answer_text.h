// The text of an answer as its tokens come: whole code points, and never a part
// of a stop string.
#ifndef LAPIDARY_ACTORS_ANSWER_TEXT_H_
#define LAPIDARY_ACTORS_ANSWER_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "storage/detokenizer.h"

namespace lapidary {

// Cuts a growing text at the first of several strings.
class StopMatcher {
 public:
  // None of `stop` is empty.
  explicit StopMatcher(std::vector<std::string> stop);

  // Takes more text; returns what can no longer be part of a stop string. Once
  // one is complete (of several in the same push: the one that begins first, of
  // those the longest), nothing more comes out.
  std::string Push(absl::string_view text);
  // Returns what was held back: no more text will come.
  std::string Flush();

  // Empty until one is met.
  const std::string& met() const { return met_; }

 private:
  std::vector<std::string> stop_;
  std::string held_;
  std::string met_;
};

class AnswerText {
 public:
  // `tokenizer` must outlive this.
  AnswerText(const Tokenizer* tokenizer, std::vector<std::string> stop)
      : detokenizer_(tokenizer, /*skip_special_tokens=*/true),
        matcher_(std::move(stop)) {}

  std::string Push(int32_t id) { return matcher_.Push(detokenizer_.Push(id)); }
  std::string Flush() {
    std::string text = matcher_.Push(detokenizer_.Flush());
    return text + matcher_.Flush();
  }
  const std::string& stop_met() const { return matcher_.met(); }

 private:
  Detokenizer detokenizer_;
  StopMatcher matcher_;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_ANSWER_TEXT_H_
