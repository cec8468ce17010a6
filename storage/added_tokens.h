// Tokens that are found in a text as they are spelled, before any merging:
// Hugging Face's added tokens.
//
//   auto added = ReadAddedTokens(folder, id_limit);  // StatusOr<std::vector>
//   AddedTokenMatcher matcher;
//   matcher.Add("<bos>", 2);
//   matcher.Split(text, [](absl::string_view between) { … },
//                 [](int32_t id) { … });
#ifndef LAPIDARY_STORAGE_ADDED_TOKENS_H_
#define LAPIDARY_STORAGE_ADDED_TOKENS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lapidary {

// Longest text of an added token or a vocabulary's piece. The longest published
// ones are 31 newlines; reading a piece takes time quadratic in its length.
inline constexpr size_t kMaxContentBytes = 1024;

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;
  // Matched in the text with spaces replaced, not in the raw text.
  bool normalized = false;
};

// The added tokens of the tokenizer in `folder`: of tokenizer.json, or without
// that file of tokenizer_config.json (`added_tokens_decoder`) and
// added_tokens.json. What tokenizer_config.json gives a role is special too.
// Sorted by id; each id and content is there once.
//
// Errors: NOT_FOUND if no file says; INVALID_ARGUMENT for malformed files, ids
// that are not below `id_limit`, and the options single_word, lstrip and
// rstrip, which no Gemma uses.
absl::StatusOr<std::vector<AddedToken>> ReadAddedTokens(
    const std::string& folder, int32_t id_limit);

// Whether Gemma's vocabulary reserves a name to steer the model rather than to
// stand for text. Not every such token has the flag `special`.
bool IsControlName(absl::string_view name);

// Finds tokens in texts: at each position the longest, from left to right. Time
// is linear in the text times the longest token.
class AddedTokenMatcher {
 public:
  AddedTokenMatcher() { first_.fill(kNone); }

  // `content` must not be empty. The later of two with equal content counts.
  void Add(absl::string_view content, int32_t id);

  // Calls, in the text's order, `between` for each stretch without a token
  // (never an empty one) and `token` for each token found.
  void Split(absl::string_view text,
             const std::function<void(absl::string_view)>& between,
             const std::function<void(int32_t)>& token) const;

 private:
  static constexpr int32_t kNone = -1;
  struct Match {
    size_t bytes = 0;
    int32_t id = kNone;
  };

  int32_t Next(int32_t node, uint8_t byte) const;
  Match LongestAt(absl::string_view text) const;

  // A trie: nodes are numbers, an edge is (node, byte). Edges from the root
  // are apart, since nearly every position of a text ends there.
  std::array<int32_t, 256> first_;
  absl::flat_hash_map<uint64_t, int32_t> edges_;
  std::vector<int32_t> ends_;  // [node]: id of the token that ends there
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_ADDED_TOKENS_H_
