#include "tests/support/nano_questions.h"

#include <algorithm>
#include <set>
#include <utility>

#include "gtest/gtest.h"
#include "storage/chat_template.h"
#include "storage/json.h"
#include "tests/support/files.h"
#include "tests/support/nano_tokenizer.h"

namespace lapidary {
namespace {

// As evaluate.py has it.
constexpr size_t kMostNewTokens = 64;
// <eos> and <end_of_turn>.
constexpr int32_t kStopIds[] = {1, 106};

std::string GreedyAnswer(TextRunner* runner, const std::string& prompt) {
  const auto ids =
      RenderChatIds(NanoTokenizer(), {ChatMessage::Text("user", prompt)}, true);
  EXPECT_TRUE(ids.ok()) << ids.status();
  RunningSequence sequence = runner->Start(ids->size() + kMostNewTokens);
  LogitRows logits =
      runner->Feed(&sequence, *ids, 512, TextRunner::Outputs::kLast);
  std::vector<int32_t> answer;
  while (answer.size() < kMostNewTokens) {
    const int32_t token =
        Argmax(logits.back(), runner->config().vocab_size_per_layer_input);
    if (std::find(std::begin(kStopIds), std::end(kStopIds), token) !=
        std::end(kStopIds)) {
      break;
    }
    answer.push_back(token);
    logits = runner->Feed(&sequence, {token}, 1, TextRunner::Outputs::kLast);
  }
  return NanoTokenizer().Decode(answer, true);
}

}  // namespace

const std::vector<std::string>& NanoTextTasks() {
  static const auto* const tasks =
      new std::vector<std::string>{"translation", "paragraph", "recall"};
  return *tasks;
}

std::vector<NanoQuestion> HeldOutQuestions(const std::string& task,
                                           size_t most) {
  const auto lists =
      ParseJson(ReadBytes("tests/goldens/nano/heldout.json"), "heldout.json");
  EXPECT_TRUE(lists.ok()) << lists.status();
  std::vector<NanoQuestion> questions;
  std::set<std::string> seen;
  for (const Json& one : (*lists)[task]) {
    NanoQuestion question{one["prompt"], one["answer"]};
    if (questions.size() == most) break;
    if (seen.insert(question.prompt).second) {
      questions.push_back(std::move(question));
    }
  }
  return questions;
}

int CountRight(TextRunner* runner, const std::vector<NanoQuestion>& questions) {
  return static_cast<int>(std::count_if(
      questions.begin(), questions.end(), [&](const NanoQuestion& question) {
        return GreedyAnswer(runner, question.prompt) == question.answer;
      }));
}

}  // namespace lapidary
