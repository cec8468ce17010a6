// Which blocks of tokens the stages keep keys and values of: a tree, in which a
// block's place says all tokens before it. Tokens are compared in full, and of
// soft tokens, of which one block's would be half a megabyte, their SHA-256:
// there is no hash that somebody could make two prefixes share.
//
// A node has two parts, each of so many pages (KvBlock): `full`, which every
// later position needs, and `window`, which only a sequence needs that goes on
// within the next blocks. So a sequence can begin at a node if all nodes above
// it have `full` and the last ones `window`.
//
// Memory is given up part by part, first what is missed least:
//   kSpare    windows in mid-prompt, where nothing has ever branched or ended
//   kUsed     other windows and leaves, the longest unused first
//   kGuarded  windows at the newest blocks of running sequences
//
// Knows nothing of sequences or messages; prefix_cache.h does.
#ifndef LAPIDARY_ACTORS_PREFIX_TREE_H_
#define LAPIDARY_ACTORS_PREFIX_TREE_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "actors/messages.h"
#include "kernels/attention/kv_cache.h"

namespace lapidary {

class PrefixTree {
 public:
  struct Tokens {
    std::array<int32_t, kernels::kKvPagePositions> ids{};
    // Of each soft token among them, its offset and its digest.
    std::string media;

    bool operator<(const Tokens& other) const {
      return std::tie(ids, media) < std::tie(other.ids, other.media);
    }
  };

  // Pages of a node's parts, and how many windows a position needs.
  struct Costs {
    int64_t full = 0;
    int64_t window = 0;
    int64_t window_blocks = 0;
  };
  enum class Part { kNone, kPending, kKept };  // pending: in the step under way
  enum class Rank { kSpare, kUsed, kGuarded };

  struct Node {
    BlockHandle handle = 0;  // 0: the root
    Node* parent = nullptr;
    int64_t depth = 0;  // blocks up to its end
    Tokens tokens;
    std::map<Tokens, std::unique_ptr<Node>> children;
    Part full = Part::kNone;
    Part window = Part::kNone;

   private:
    friend class PrefixTree;
    // Rank, last use, order among equals; its handle and part.
    using Key = std::tuple<Rank, uint64_t, int64_t, BlockHandle, bool>;
    int sharers = 0;  // running sequences whose own pages are the full part
    int guards = 0;   // running sequences of whose newest blocks it is one
    int holds = 0;    // sequences that begin with it and have not started yet
    bool anchored = false;
    uint64_t used = 0, window_used = 0;
    std::vector<Key> keys;  // of it in candidates_
    int64_t evictable = 0;
  };

  explicit PrefixTree(const Costs& costs) : costs_(costs) {}

  const Costs& costs() const { return costs_; }
  const Node* root() const { return &root_; }
  Node* Child(const Node* node, const Tokens& tokens) const;
  Node* Find(BlockHandle handle);  // null: not there any more
  int64_t blocks() const { return static_cast<int64_t>(nodes_.size()); }

  // A new node whose parts are both pending, shared by the sequence that
  // computes it.
  Node* Add(Node* parent, const Tokens& tokens);
  // The window of a node that has lost it is pending.
  void AddWindow(Node* node);
  // What came of the pending parts; a node without its full part is removed.
  void Settle(Node* node, bool kept);
  // Removes a node and all below it.
  void Remove(Node* node);
  void Clear();

  void Share(Node* node, int change);
  void Guard(Node* node, int change);
  void Hold(Node* node, int change);
  // Its window is of use at a place where sequences begin.
  void Anchor(Node* node);
  void Touch(Node* node);
  void TouchWindow(Node* node);
  // A new time for the touches that follow.
  void Tick() { ++now_; }

  // Gives up the least missed part of at most `rank`; false: there is none.
  bool Evict(Rank rank);
  // Handles that were given up since the last call.
  std::vector<BlockHandle> TakeDroppedBlocks();
  std::vector<BlockHandle> TakeDroppedWindows();
  uint64_t evictions() const { return evictions_; }

  // Pages that the parts take, and those among them that Evict could give up.
  int64_t pages() const { return pages_; }
  int64_t evictable() const { return evictable_; }
  // Pages that they take beyond those that running sequences have reserved:
  // a full part that n of these share takes 1 - n times its pages.
  int64_t extra_pages() const { return extra_; }

 private:
  // Before and after every change of what a node's cost or rank depends on.
  void Forget(Node* node);
  void Note(Node* node);
  template <typename Change>
  void Alter(Node* node, Change change) {
    Forget(node);
    change();
    Note(node);
  }
  int64_t PagesOf(const Node& node) const;
  int64_t ExtraOf(const Node& node) const;
  void Unlink(Node* node);

  Costs costs_;
  Node root_;
  std::unordered_map<BlockHandle, Node*> nodes_;
  std::set<Node::Key> candidates_;
  BlockHandle next_handle_ = 1;
  uint64_t now_ = 1;
  int64_t pages_ = 0, evictable_ = 0, extra_ = 0;
  uint64_t evictions_ = 0;
  std::vector<BlockHandle> dropped_blocks_, dropped_windows_;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_PREFIX_TREE_H_
