// Lets requests begin with the keys and values of earlier ones whose tokens are
// the same: the next turn of a chat, many questions behind one system prompt.
//
// The sequencer owns it, and with it the knowledge of which tokens are kept;
// the stages own the pages, which they keep and drop by handle as they are told
// in Steps. Reuse is cut to whole blocks of kKvPagePositions: what is past the
// last whole block, at most 63 tokens, is run again, in a step that the prompt
// needs in any case, for its last token always runs anew. In return nothing is
// ever copied, and a prefix is one object for all who share it.
//
// Every block of a prompt and of its answer is kept as it is completed, windows
// too, so that the next prompt can leave it at any block. When memory runs
// short, windows in mid-prompt go first; those stay longest where a prompt or
// an answer ended or another prompt branched off, which is where the next ones
// will.
//
// Uses only pages that are free, at most `max_pages` of them, and gives them up
// when a request needs them: no request waits for pages longer than it would
// without.
//
//   Admit ─► sequence.BeginWith ─► Plan, for each of its Steps ─► Leave
//                                     └─► Settle, with the Step's result
#ifndef LAPIDARY_ACTORS_PREFIX_CACHE_H_
#define LAPIDARY_ACTORS_PREFIX_CACHE_H_

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "actors/messages.h"
#include "actors/prefix_tree.h"
#include "actors/sequence.h"
#include "kernels/attention/kv_cache.h"

namespace lapidary {

class PrefixCache {
 public:
  //   layout     the stage's
  //   max_pages  0: nothing is kept
  PrefixCache(const kernels::KvLayout& layout, int64_t max_pages);

  // Positions of its prompt that it would not have to run, were it admitted
  // now.
  int64_t Reusable(const Sequence& sequence) const;

  // Takes up a sequence that needs pages for all its positions, `room` of which
  // are left beside those of the running sequences, after it. False: it has to
  // wait, and nothing has changed. If there is a prefix for it, it begins with
  // that (Sequence::BeginWith).
  bool Admit(Sequence& sequence, int64_t room);

  // Asks the stage to keep the blocks that a step's rows complete.
  //   room  pages that the running sequences have not reserved
  void Plan(const Sequence& sequence, int64_t room, StepRows* rows);
  // What was given up since the last step.
  void PlanDrops(Step* step);
  void Settle(const StepRowsResult& result);

  // A stage had no such block for a sequence, which is to begin anew.
  void Missing(SequenceId id, BlockHandle handle);

  // The sequence has ended; unknown ones are ignored.
  void Leave(SequenceId id);
  // The stage is lost, and with it all that it kept.
  void Clear();

  // Pages that are kept beyond those that running sequences have reserved.
  int64_t extra_pages() const { return tree_.extra_pages(); }
  PrefixCacheStatus Status() const;

 private:
  using Node = PrefixTree::Node;

  // Where a running sequence is in the tree.
  struct Path {
    BlockHandle tip = 0;            // its last block that the tree has
    int64_t depth = 0;              // blocks up to there
    bool open = true;               // blocks that follow are kept
    int64_t branch_blocks = 0;      // of an earlier sequence's, the same tokens
    std::vector<BlockHandle> held;  // what it begins with: it has not begun
    std::vector<BlockHandle> shared;
    std::deque<BlockHandle> guarded;
  };

  // Whether it may begin with a prefix and leave one.
  bool TakesPart(const Sequence& sequence) const;
  // The blocks of the tree that `sequence` can begin with, first to last, of
  // `equal_blocks` that have its tokens.
  std::vector<Node*> Match(const Sequence& sequence,
                           int64_t* equal_blocks) const;
  bool MakeRoomToAdmit(int64_t room);
  // Room for parts of a running sequence; evicts only what is not guarded.
  bool MakeRoomToKeep(int64_t pages, int64_t extra, int64_t room);
  void Advance(Path& path, Node* node);
  void Hold(Path& path, std::vector<BlockHandle> handles);
  void AnchorTip(const Path& path);
  void Release(Path& path);

  int64_t max_pages_;
  PrefixTree tree_;
  std::unordered_map<SequenceId, Path> paths_;
  std::vector<SequenceId> starting_;  // in the step that is being planned
  // Blocks whose parts the step under way makes.
  std::unordered_map<SequenceId, std::vector<BlockHandle>> planned_;
  PrefixCacheStatus counters_;  // of it, those that only grow
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_PREFIX_CACHE_H_
