#include "actors/prefix_tree.h"

#include <utility>

namespace lapidary {

using Node = PrefixTree::Node;

int64_t PrefixTree::PagesOf(const Node& node) const {
  return (node.full != Part::kNone ? costs_.full : 0) +
         (node.window != Part::kNone ? costs_.window : 0);
}

int64_t PrefixTree::ExtraOf(const Node& node) const {
  return PagesOf(node) -
         (node.full != Part::kNone ? costs_.full * node.sharers : 0);
}

void PrefixTree::Forget(Node* node) {
  pages_ -= PagesOf(*node);
  extra_ -= ExtraOf(*node);
  evictable_ -= node->evictable;
  for (const Node::Key& key : node->keys) candidates_.erase(key);
  node->keys.clear();
  node->evictable = 0;
}

void PrefixTree::Note(Node* node) {
  pages_ += PagesOf(*node);
  extra_ += ExtraOf(*node);
  if (node->handle == 0 || node->holds > 0) return;
  if (node->window == Part::kKept) {
    const Rank rank = node->guards > 0 ? Rank::kGuarded
                      : node->anchored ? Rank::kUsed
                                       : Rank::kSpare;
    // Among equals the first of a prompt goes first: its rest stays of use.
    node->keys.emplace_back(rank, node->window_used, node->depth, node->handle,
                            true);
    node->evictable += costs_.window;
  }
  if (node->full == Part::kKept && node->window != Part::kPending &&
      node->sharers == 0 && node->guards == 0) {
    if (node->children.empty()) {
      node->keys.emplace_back(Rank::kUsed, node->used, INT64_MAX - node->depth,
                              node->handle, false);
    }
    node->evictable += costs_.full;
  }
  evictable_ += node->evictable;
  candidates_.insert(node->keys.begin(), node->keys.end());
}

Node* PrefixTree::Child(const Node* node, const Tokens& tokens) const {
  auto it = node->children.find(tokens);
  return it == node->children.end() ? nullptr : it->second.get();
}

Node* PrefixTree::Find(BlockHandle handle) {
  if (handle == 0) return &root_;
  auto it = nodes_.find(handle);
  return it == nodes_.end() ? nullptr : it->second;
}

Node* PrefixTree::Add(Node* parent, const Tokens& tokens) {
  auto node = std::make_unique<Node>();
  node->handle = next_handle_++;
  node->parent = parent;
  node->depth = parent->depth + 1;
  node->tokens = tokens;
  node->full = Part::kPending;
  node->window = Part::kPending;
  node->sharers = 1;
  node->used = node->window_used = now_;
  Node* added = node.get();
  nodes_[added->handle] = added;
  Alter(parent, [&] { parent->children.emplace(tokens, std::move(node)); });
  Note(added);
  return added;
}

void PrefixTree::AddWindow(Node* node) {
  Alter(node, [&] {
    node->window = Part::kPending;
    node->window_used = now_;
  });
}

void PrefixTree::Settle(Node* node, bool kept) {
  if (!kept && node->full == Part::kPending) {
    Remove(node);
    return;
  }
  Alter(node, [&] {
    if (node->full == Part::kPending) node->full = Part::kKept;
    if (node->window == Part::kPending) {
      node->window = kept ? Part::kKept : Part::kNone;
    }
  });
}

void PrefixTree::Unlink(Node* node) {
  Node* parent = node->parent;
  dropped_blocks_.push_back(node->handle);
  Forget(node);
  nodes_.erase(node->handle);
  Alter(parent, [&] { parent->children.erase(node->tokens); });
}

void PrefixTree::Remove(Node* node) {
  while (!node->children.empty()) {
    Remove(node->children.begin()->second.get());
  }
  Unlink(node);
}

void PrefixTree::Clear() {
  while (!root_.children.empty()) {
    Remove(root_.children.begin()->second.get());
  }
  dropped_blocks_.clear();
  dropped_windows_.clear();
}

void PrefixTree::Share(Node* node, int change) {
  Alter(node, [&] { node->sharers += change; });
}

void PrefixTree::Guard(Node* node, int change) {
  Alter(node, [&] { node->guards += change; });
}

void PrefixTree::Hold(Node* node, int change) {
  Alter(node, [&] { node->holds += change; });
}

void PrefixTree::Anchor(Node* node) {
  Alter(node, [&] { node->anchored = true; });
}

void PrefixTree::Touch(Node* node) {
  Alter(node, [&] { node->used = now_; });
}

void PrefixTree::TouchWindow(Node* node) {
  Alter(node, [&] { node->window_used = now_; });
}

bool PrefixTree::Evict(Rank rank) {
  if (candidates_.empty()) return false;
  const auto [least, used, order, handle, window] = *candidates_.begin();
  if (least > rank) return false;
  Node* node = nodes_.at(handle);
  ++evictions_;
  if (window) {
    dropped_windows_.push_back(handle);
    Alter(node, [&] {
      node->window = Part::kNone;
      node->anchored = false;
    });
  } else {
    Unlink(node);
  }
  return true;
}

std::vector<BlockHandle> PrefixTree::TakeDroppedBlocks() {
  return std::exchange(dropped_blocks_, {});
}

std::vector<BlockHandle> PrefixTree::TakeDroppedWindows() {
  return std::exchange(dropped_windows_, {});
}

}  // namespace lapidary
