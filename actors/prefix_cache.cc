#include "actors/prefix_cache.h"

#include <algorithm>
#include <utility>

namespace lapidary {
namespace {

using kernels::kKvPagePositions;
using Node = PrefixTree::Node;
using Part = PrefixTree::Part;
using Rank = PrefixTree::Rank;

PrefixTree::Tokens BlockOf(const Sequence& sequence, int64_t number) {
  PrefixTree::Tokens tokens;
  const int64_t first = number * kKvPagePositions;
  const std::vector<int32_t> ids = sequence.TokensAt(first, kKvPagePositions);
  std::copy(ids.begin(), ids.end(), tokens.ids.begin());
  for (int64_t i = 0; i < kKvPagePositions; ++i) {
    const std::string* digest = sequence.SoftTokenDigest(first + i);
    if (digest == nullptr) continue;
    tokens.media.push_back(static_cast<char>(i));
    tokens.media += *digest;
  }
  return tokens;
}

}  // namespace

PrefixCache::PrefixCache(const kernels::KvLayout& layout, int64_t max_pages)
    : max_pages_(max_pages),
      tree_({layout.FullLayers(), layout.RingLayers(), layout.WindowBlocks()}) {
}

bool PrefixCache::TakesPart(const Sequence& sequence) const {
  return max_pages_ > 0 && sequence.request.task == Task::kGenerate &&
         !sequence.request.no_prefix_cache;
}

int64_t PrefixCache::Reusable(const Sequence& sequence) const {
  int64_t equal_blocks = 0;
  const auto blocks = Match(sequence, &equal_blocks).size();
  return static_cast<int64_t>(blocks) * kKvPagePositions;
}

std::vector<Node*> PrefixCache::Match(const Sequence& sequence,
                                      int64_t* equal_blocks) const {
  if (!TakesPart(sequence) || sequence.begun_anew()) return {};
  const auto prompt = static_cast<int64_t>(sequence.request.tokens.size());
  std::vector<Node*> nodes;
  int64_t usable = 0;
  int64_t windows = 0;  // consecutive ones, up to the node at hand
  const Node* at = tree_.root();
  // The prompt's last token always runs: its logits are wanted.
  while (tree_.blocks() > 0 && (at->depth + 1) * kKvPagePositions < prompt) {
    Node* node = tree_.Child(at, BlockOf(sequence, at->depth));
    if (node == nullptr || node->full != Part::kKept) break;
    nodes.push_back(node);
    windows = node->window == Part::kKept ? windows + 1 : 0;
    if (windows >= std::min(node->depth, tree_.costs().window_blocks)) {
      usable = node->depth;
    }
    at = node;
  }
  *equal_blocks = static_cast<int64_t>(nodes.size());
  nodes.resize(usable);
  return nodes;
}

bool PrefixCache::MakeRoomToAdmit(int64_t room) {
  if (tree_.extra_pages() - tree_.evictable() > room) return false;
  while (tree_.extra_pages() > room) {
    if (!tree_.Evict(Rank::kGuarded)) return false;
  }
  return true;
}

bool PrefixCache::MakeRoomToKeep(int64_t pages, int64_t extra, int64_t room) {
  // Blocks of a model without full layers cost nothing once their windows are
  // gone: their number is bounded too.
  while (tree_.blocks() >= max_pages_ || tree_.pages() + pages > max_pages_ ||
         tree_.extra_pages() + extra > room) {
    if (!tree_.Evict(Rank::kUsed)) return false;
  }
  return true;
}

bool PrefixCache::Admit(Sequence& sequence, int64_t room) {
  const SequenceId id = sequence.request.sequence;
  Path path;
  path.open = TakesPart(sequence);
  std::vector<Node*> nodes = Match(sequence, &path.branch_blocks);
  tree_.Tick();
  for (Node* node : nodes) {
    tree_.Share(node, 1);
    tree_.Touch(node);
    path.shared.push_back(node->handle);
    Advance(path, node);
  }
  Hold(path, path.shared);
  bool fits = MakeRoomToAdmit(room);
  if (!fits && !nodes.empty()) {
    // What it would begin with may be what is in its way.
    Release(path);
    path.shared.clear();
    path.tip = 0;
    path.depth = 0;
    nodes.clear();
    fits = MakeRoomToAdmit(room);
  }
  if (!fits) return false;
  if (path.open) {
    ++counters_.lookups;
    counters_.hits += nodes.empty() ? 0 : 1;
    counters_.tokens_reused += path.depth * kKvPagePositions;
  }
  AnchorTip(path);
  sequence.BeginWith(path.shared);
  paths_[id] = std::move(path);
  return true;
}

// The node's window is among those that the sequence's next blocks see.
void PrefixCache::Advance(Path& path, Node* node) {
  path.tip = node->handle;
  path.depth = node->depth;
  path.guarded.push_back(node->handle);
  tree_.Guard(node, 1);
  if (static_cast<int64_t>(path.guarded.size()) >
      std::max<int64_t>(1, tree_.costs().window_blocks)) {
    if (Node* old = tree_.Find(path.guarded.front())) tree_.Guard(old, -1);
    path.guarded.pop_front();
  }
}

// Holds `handles`, and no others any more.
void PrefixCache::Hold(Path& path, std::vector<BlockHandle> handles) {
  for (BlockHandle handle : path.held) {
    if (Node* node = tree_.Find(handle)) tree_.Hold(node, -1);
  }
  path.held = std::move(handles);
  for (BlockHandle handle : path.held) {
    if (Node* node = tree_.Find(handle)) tree_.Hold(node, 1);
  }
}

// Sequences are likely to begin here.
void PrefixCache::AnchorTip(const Path& path) {
  for (BlockHandle handle : path.guarded) {
    if (Node* node = tree_.Find(handle)) {
      tree_.Anchor(node);
      tree_.TouchWindow(node);
    }
  }
}

void PrefixCache::Plan(const Sequence& sequence, int64_t room, StepRows* rows) {
  auto it = paths_.find(rows->sequence);
  if (it == paths_.end()) return;
  Path& path = it->second;
  if (!path.held.empty()) starting_.push_back(rows->sequence);
  const auto end =
      rows->first_position + static_cast<int64_t>(rows->token_ids.size());
  const PrefixTree::Costs& costs = tree_.costs();
  const int64_t prompt_blocks =
      static_cast<int64_t>(sequence.request.tokens.size()) / kKvPagePositions;
  tree_.Tick();
  while (path.open && (path.depth + 1) * kKvPagePositions <= end) {
    Node* const tip = tree_.Find(path.tip);
    path.open = tip != nullptr;
    if (!path.open) return;
    const PrefixTree::Tokens tokens = BlockOf(sequence, path.depth);
    Node* node = tree_.Child(tip, tokens);
    bool plan = false;
    if (node == nullptr) {
      path.open = plan =
          MakeRoomToKeep(costs.full + costs.window, costs.window, room);
      if (!path.open) return;
      node = tree_.Add(tip, tokens);
      path.shared.push_back(node->handle);
      Advance(path, node);
    } else {
      // Another sequence has been here; it is this one's as well from now on,
      // so that making room cannot take it.
      Advance(path, node);
      tree_.Touch(node);
      plan = node->window == Part::kNone &&
             MakeRoomToKeep(costs.window, costs.window, room);
      if (plan) tree_.AddWindow(node);
    }
    if (plan) {
      planned_[rows->sequence].push_back(node->handle);
      rows->keep.push_back({node->handle, node->parent->handle,
                            static_cast<int32_t>(node->depth - 1)});
    }
    if (path.depth == prompt_blocks || path.depth == path.branch_blocks) {
      AnchorTip(path);
    }
  }
}

void PrefixCache::PlanDrops(Step* step) {
  step->drop_blocks = tree_.TakeDroppedBlocks();
  step->drop_windows = tree_.TakeDroppedWindows();
  // The stage drops before it starts sequences, so what these begin with was
  // not to be given up for this step.
  for (SequenceId id : starting_) {
    auto it = paths_.find(id);
    if (it != paths_.end()) Hold(it->second, {});
  }
  starting_.clear();
}

void PrefixCache::Settle(const StepRowsResult& result) {
  auto it = planned_.find(result.sequence);
  if (it == planned_.end()) return;
  const std::vector<BlockHandle>& lost = result.not_kept;
  for (BlockHandle handle : it->second) {
    Node* node = tree_.Find(handle);
    if (node == nullptr) continue;
    tree_.Settle(node, result.status.ok() && std::find(lost.begin(), lost.end(),
                                                       handle) == lost.end());
  }
  planned_.erase(it);
}

void PrefixCache::Missing(SequenceId id, BlockHandle handle) {
  Leave(id);
  if (handle == 0) return;
  if (Node* node = tree_.Find(handle)) tree_.Remove(node);
}

void PrefixCache::Release(Path& path) {
  Hold(path, {});
  for (BlockHandle handle : path.shared) {
    if (Node* node = tree_.Find(handle)) tree_.Share(node, -1);
  }
  for (BlockHandle handle : path.guarded) {
    if (Node* node = tree_.Find(handle)) tree_.Guard(node, -1);
  }
  path.guarded.clear();
}

void PrefixCache::Leave(SequenceId id) {
  auto it = paths_.find(id);
  if (it == paths_.end()) return;
  tree_.Tick();
  AnchorTip(it->second);
  Release(it->second);
  paths_.erase(it);
}

void PrefixCache::Clear() {
  tree_.Clear();
  paths_.clear();
  planned_.clear();
  starting_.clear();
}

PrefixCacheStatus PrefixCache::Status() const {
  PrefixCacheStatus status = counters_;
  status.evictions = tree_.evictions();
  status.blocks = tree_.blocks();
  status.pages = tree_.pages();
  status.max_pages = max_pages_;
  return status;
}

}  // namespace lapidary
