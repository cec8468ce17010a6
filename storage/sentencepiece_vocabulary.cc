#include "storage/sentencepiece_vocabulary.h"

#include <sentencepiece_processor.h>

#include <utility>

namespace lapidary {
namespace {

VocabularyPiece::Kind KindOf(
    const sentencepiece::SentencePieceProcessor& processor, int id) {
  if (processor.IsUnknown(id)) return VocabularyPiece::Kind::kUnknown;
  if (processor.IsControl(id)) return VocabularyPiece::Kind::kControl;
  if (processor.IsUnused(id)) return VocabularyPiece::Kind::kUnused;
  if (processor.IsByte(id)) return VocabularyPiece::Kind::kByte;
  return VocabularyPiece::Kind::kText;
}

}  // namespace

std::string ReadVocabulary(const std::string& model,
                           std::vector<VocabularyPiece>* pieces) {
  sentencepiece::SentencePieceProcessor processor;
  const sentencepiece::util::Status status =
      processor.LoadFromSerializedProto(model);
  if (!status.ok()) return status.ToString();
  const int size = processor.GetPieceSize();
  pieces->clear();
  pieces->reserve(size);
  for (int id = 0; id < size; ++id) {
    VocabularyPiece piece;
    piece.text = processor.IdToPiece(id);
    piece.score = processor.GetScore(id);
    piece.kind = KindOf(processor, id);
    pieces->push_back(std::move(piece));
  }
  return "";
}

}  // namespace lapidary
