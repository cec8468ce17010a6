// The text of an answer as its tokens come: whole code points, and never a part
// of a stop string.
#ifndef LAPIDARY_ACTORS_ANSWER_TEXT_H_
#define LAPIDARY_ACTORS_ANSWER_TEXT_H_

#include <cstdint>
#include <optional>
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
  // `tokenizer` must outlive this; null: tokens have no text.
  AnswerText(const Tokenizer* tokenizer, std::vector<std::string> stop)
      : matcher_(std::move(stop)) {
    if (tokenizer != nullptr) {
      detokenizer_.emplace(tokenizer, /*skip_special_tokens=*/true);
    }
  }

  std::string Push(int32_t id) {
    if (!detokenizer_.has_value()) return "";
    return matcher_.Push(detokenizer_->Push(id));
  }
  std::string Flush() {
    if (!detokenizer_.has_value()) return "";
    std::string text = matcher_.Push(detokenizer_->Flush());
    return text + matcher_.Flush();
  }
  const std::string& stop_met() const { return matcher_.met(); }

 private:
  std::optional<Detokenizer> detokenizer_;
  StopMatcher matcher_;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_ANSWER_TEXT_H_
