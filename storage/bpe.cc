#include "storage/bpe.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <queue>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/utf8.h"

namespace lapidary {
namespace {

uint64_t Key(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 |
         static_cast<uint32_t>(right);
}

// One way to merge into a piece, before ranks are given.
struct Candidate {
  float score;
  int32_t left_length, right_length;  // code points
  int32_t left, right, merged;        // ids
};

// Appends the candidates for piece `id`, ordered by the ids of their parts.
void AppendCandidates(
    const absl::flat_hash_map<absl::string_view, int32_t>& ids,
    const BytePairPiece& piece, int32_t id,
    std::vector<Candidate>* candidates) {
  std::vector<size_t> starts;  // of the code points
  for (size_t i = 0; i < piece.text.size();
       i += NextCodePoint(absl::string_view(piece.text).substr(i)).bytes) {
    starts.push_back(i);
  }
  const size_t first = candidates->size();
  for (size_t cut = 1; cut < starts.size(); ++cut) {
    const absl::string_view text = piece.text;
    const auto left = ids.find(text.substr(0, starts[cut]));
    if (left == ids.end()) continue;
    const auto right = ids.find(text.substr(starts[cut]));
    if (right == ids.end()) continue;
    candidates->push_back({piece.score, static_cast<int32_t>(cut),
                           static_cast<int32_t>(starts.size() - cut),
                           left->second, right->second, id});
  }
  std::sort(candidates->begin() + first, candidates->end(),
            [](const Candidate& a, const Candidate& b) {
              return std::tie(a.left, a.right) < std::tie(b.left, b.right);
            });
}

}  // namespace

absl::StatusOr<BytePairMerger> BytePairMerger::Make(
    const std::vector<BytePairPiece>& pieces) {
  BytePairMerger merger;
  merger.bytes_.fill(-1);
  absl::flat_hash_map<absl::string_view, int32_t> ids;
  for (size_t id = 0; id < pieces.size(); ++id) {
    const BytePairPiece& piece = pieces[id];
    if (piece.byte >= 0) merger.bytes_[piece.byte] = static_cast<int32_t>(id);
    if (piece.apart || piece.byte >= 0) continue;
    if (std::isnan(piece.score)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the score of piece ", id, " is not a number"));
    }
    if (!ids.emplace(piece.text, static_cast<int32_t>(id)).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("the piece \"", absl::CHexEscape(piece.text),
                       "\" is there twice, the second time as id ", id));
    }
    const Utf8Step first = NextCodePoint(piece.text);
    if (first.bytes == piece.text.size()) {
      merger.code_points_[first.code_point] = static_cast<int32_t>(id);
    }
  }
  for (size_t byte = 0; byte < merger.bytes_.size(); ++byte) {
    if (merger.bytes_[byte] >= 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "no piece for byte ", byte,
        ": Gemma's vocabulary has a piece for every byte (byte_fallback)"));
  }
  std::vector<Candidate> candidates;
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (pieces[id].apart || pieces[id].byte >= 0) continue;
    AppendCandidates(ids, pieces[id], static_cast<int32_t>(id), &candidates);
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) {
                     return std::tie(a.score, a.left_length, a.right_length) >
                            std::tie(b.score, b.left_length, b.right_length);
                   });
  merger.merges_.reserve(candidates.size());
  for (size_t rank = 0; rank < candidates.size(); ++rank) {
    merger.merges_.emplace(
        Key(candidates[rank].left, candidates[rank].right),
        Merge{static_cast<int32_t>(rank), candidates[rank].merged});
  }
  return merger;
}

const BytePairMerger::Merge* BytePairMerger::Find(int32_t left,
                                                  int32_t right) const {
  const auto found = merges_.find(Key(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

std::vector<BytePairMerger::Symbol> BytePairMerger::SymbolsOf(
    absl::string_view word) const {
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  const auto append = [&symbols](int32_t id) {
    const int32_t index = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, index - 1, index + 1, false});
  };
  while (!word.empty()) {
    const Utf8Step step = NextCodePoint(word);
    const auto piece = code_points_.find(step.code_point);
    if (piece != code_points_.end()) {
      append(piece->second);
    } else {
      for (const char byte : word.substr(0, step.bytes)) {
        append(bytes_[static_cast<uint8_t>(byte)]);
      }
    }
    word.remove_prefix(step.bytes);
  }
  if (!symbols.empty()) symbols.back().next = -1;
  return symbols;
}

void BytePairMerger::MergeAll(std::vector<Symbol>* symbols) const {
  // (rank, left symbol's index, merged id); entries whose symbols have changed
  // meanwhile are passed over when their turn comes.
  using Entry = std::tuple<int32_t, int32_t, int32_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> queue;
  std::vector<Symbol>& all = *symbols;
  const auto offer = [&](int32_t left) {
    if (left < 0 || all[left].next < 0) return;
    const Merge* merge = Find(all[left].id, all[all[left].next].id);
    if (merge != nullptr) queue.emplace(merge->rank, left, merge->id);
  };
  for (size_t i = 0; i < all.size(); ++i) offer(static_cast<int32_t>(i));
  while (!queue.empty()) {
    const auto [rank, left, merged] = queue.top();
    queue.pop();
    if (all[left].gone || all[left].next < 0) continue;
    const int32_t right = all[left].next;
    const Merge* merge = Find(all[left].id, all[right].id);
    if (merge == nullptr || merge->rank != rank) continue;
    all[left].id = merged;
    all[left].next = all[right].next;
    all[right].gone = true;
    if (all[left].next >= 0) all[all[left].next].previous = left;
    offer(all[left].previous);
    offer(left);
  }
}

void BytePairMerger::Split(absl::string_view word,
                           std::vector<int32_t>* ids) const {
  std::vector<Symbol> symbols = SymbolsOf(word);
  MergeAll(&symbols);
  for (const Symbol& symbol : symbols) {
    if (!symbol.gone) ids->push_back(symbol.id);
  }
}

}  // namespace lapidary
