#include "tests/build/link_tokenizer.h"

#include <sentencepiece_processor.h>

#include <cstring>

namespace lapidary {
namespace {

// One `pieces` entry (field 1 of ModelProto) in Protobuf's wire format: piece
// (field 1), score (field 2), type (field 3: 1 normal, 2 unknown, 3 control).
std::string Piece(const std::string& piece, float score, char type) {
  std::string entry = "\x0a";
  entry += static_cast<char>(piece.size());
  entry += piece;
  char bytes[sizeof(score)];
  std::memcpy(bytes, &score, sizeof(score));
  entry += '\x15';
  entry.append(bytes, sizeof(bytes));
  entry += '\x18';
  entry += type;
  return std::string("\x0a") + static_cast<char>(entry.size()) + entry;
}

}  // namespace

std::string TinyTokenizerModel() {
  return Piece("<unk>", 0, 2) + Piece("<s>", 0, 3) + Piece("</s>", 0, 3) +
         Piece("\xe2\x96\x81", -1, 1) + Piece("a", -2, 1) + Piece("b", -3, 1);
}

std::vector<int> TokenizeWith(const std::string& model,
                              const std::string& text) {
  sentencepiece::SentencePieceProcessor processor;
  std::vector<int> ids;
  if (processor.LoadFromSerializedProto(model).ok()) {
    processor.Encode(text, &ids).IgnoreError();
  }
  return ids;
}

}  // namespace lapidary
