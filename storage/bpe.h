// Byte-pair merging with Hugging Face's ranks, from the pieces and scores of a
// sentencepiece model.
#ifndef LAPIDARY_STORAGE_BPE_H_
#define LAPIDARY_STORAGE_BPE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lapidary {

// One piece of a vocabulary as the merger sees it.
struct BytePairPiece {
  std::string text;   // valid UTF-8, not empty
  float score = 0;    // of merging into it: higher first
  int16_t byte = -1;  // a byte token's byte
  // Neither made nor used by merging: control tokens, bytes.
  bool apart = false;
};

// Splits words into pieces. Immutable once made.
class BytePairMerger {
 public:
  // Two ids that become one; of all the pairs in a word the one of the lowest
  // rank is next, the leftmost first.
  struct Merge {
    int32_t rank = 0;
    int32_t id = 0;
  };

  BytePairMerger() = default;

  // Derives the merges as Hugging Face's converter does (`generate_merges`):
  // every split of every piece into two pieces, by score, then the longer left
  // part first.
  //
  //   pieces   [id]
  //
  // Errors: INVALID_ARGUMENT for a piece that is twice there, a score that is
  // not a number and a missing byte token.
  static absl::StatusOr<BytePairMerger> Make(
      const std::vector<BytePairPiece>& pieces);

  // Appends the ids of `word`, valid UTF-8 with U+2581 for spaces, to `ids`.
  // n log n in the word's code points.
  void Split(absl::string_view word, std::vector<int32_t>* ids) const;

  // The merge of two ids; null if they do not merge.
  const Merge* Find(int32_t left, int32_t right) const;
  size_t merges() const { return merges_.size(); }

 private:
  struct Symbol {
    int32_t id = 0;
    int32_t previous = -1, next = -1;  // indices; -1 at the ends
    bool gone = false;                 // merged into its left neighbour
  };

  std::vector<Symbol> SymbolsOf(absl::string_view word) const;
  void MergeAll(std::vector<Symbol>* symbols) const;

  absl::flat_hash_map<char32_t, int32_t> code_points_;  // to ids
  std::array<int32_t, 256> bytes_{};                    // to ids
  absl::flat_hash_map<uint64_t, Merge> merges_;  // by left id << 32 | right id
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_BPE_H_
