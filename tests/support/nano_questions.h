// The bundled model's held-out questions of text, and how many a packed model
// answers right.
#ifndef LAPIDARY_TESTS_SUPPORT_NANO_QUESTIONS_H_
#define LAPIDARY_TESTS_SUPPORT_NANO_QUESTIONS_H_

#include <string>
#include <vector>

#include "tests/support/text_runner.h"

namespace lapidary {

struct NanoQuestion {
  std::string prompt, answer;
};

// "translation", "paragraph", "recall".
const std::vector<std::string>& NanoTextTasks();

// The first `most` questions of a task in tests/goldens/nano/heldout.json; each
// once: some are there again.
std::vector<NanoQuestion> HeldOutQuestions(const std::string& task,
                                           size_t most = 1000);

// Questions whose greedy answer is the right one to the letter.
int CountRight(TextRunner* runner, const std::vector<NanoQuestion>& questions);

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_NANO_QUESTIONS_H_
