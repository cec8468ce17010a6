// The pieces of a sentencepiece model (tokenizer.model), read by the
// sentencepiece library.
//
// Types of std only: sentencepiece_processor.h and Abseil's headers both
// declare absl::string_view, so one translation unit stands between them.
#ifndef LAPIDARY_STORAGE_SENTENCEPIECE_VOCABULARY_H_
#define LAPIDARY_STORAGE_SENTENCEPIECE_VOCABULARY_H_

#include <string>
#include <vector>

namespace lapidary {

struct VocabularyPiece {
  enum class Kind {
    kText,  // normal or user-defined; the library does not tell them apart
    kUnknown,
    kControl,
    kUnused,
    kByte,
  };
  std::string text;
  float score = 0;  // of merging into this piece: higher first
  Kind kind = Kind::kText;
};

// Reads all pieces, by id, from the bytes of a tokenizer.model. Returns an
// empty string, or what is wrong with the model.
std::string ReadVocabulary(const std::string& model,
                           std::vector<VocabularyPiece>* pieces);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_SENTENCEPIECE_VOCABULARY_H_
