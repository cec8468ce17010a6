// Uses sentencepiece behind std types: its header and Abseil's cannot meet in
// one translation unit.
#ifndef TESTS_BUILD_LINK_TOKENIZER_H_
#define TESTS_BUILD_LINK_TOKENIZER_H_

#include <string>
#include <vector>

namespace lapidary {

// A serialized sentencepiece model of the pieces "<unk>", "<s>", "</s>",
// "\u2581", "a" and "b", assembled without a trainer.
std::string TinyTokenizerModel();

// Ids of `text` by `model`; empty if sentencepiece refuses the model.
std::vector<int> TokenizeWith(const std::string& model,
                              const std::string& text);

}  // namespace lapidary

#endif  // TESTS_BUILD_LINK_TOKENIZER_H_
