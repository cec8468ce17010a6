// The blocks of keys and values that a stage keeps for sequences to come, under
// the sequencer's handles (prefix_cache.h). Each remembers its tokens and the
// block before it, so that a sequence never begins with other tokens' keys,
// whatever handles it names.
#ifndef LAPIDARY_ACTORS_KEPT_BLOCKS_H_
#define LAPIDARY_ACTORS_KEPT_BLOCKS_H_

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "actors/messages.h"
#include "kernels/attention/kv_block.h"

namespace lapidary {

class KeptBlocks {
 public:
  // The blocks that `start` begins with, first to last, into `blocks`.
  // FAILED_PRECONDITION if one is not kept here, or is not that of its tokens
  // and place; `missing` is then its handle.
  absl::Status Find(const SequenceStart& start, int64_t window_blocks,
                    std::vector<const kernels::KvBlock*>* blocks,
                    BlockHandle* missing) const;

  // Blocks that rows [first, end) of a sequence complete, for a Commit to fill,
  // into `blocks`.
  //   history  tokens of positions [0, end)
  // INVALID_ARGUMENT, and nothing is added, for blocks that these rows do not
  // complete, and for handles that are another block's.
  absl::Status Add(kernels::KvPool* pool, absl::Span<const KeepBlock> keep,
                   int64_t first, absl::Span<const int32_t> history,
                   std::vector<kernels::KvBlock*>* blocks);
  // After the Commit: the handles of blocks that it could not fill. They are
  // forgotten, as far as they had not been filled before.
  std::vector<BlockHandle> Settle(absl::Span<const KeepBlock> keep);

  void Drop(absl::Span<const BlockHandle> blocks,
            absl::Span<const BlockHandle> windows);
  void Clear() { blocks_.clear(); }

 private:
  struct Block {
    BlockHandle parent = 0;
    std::vector<int32_t> tokens;
    std::unique_ptr<kernels::KvBlock> kv;
    bool filled = false;  // by a step that is done
  };
  absl::Status Check(const KeepBlock& keep, int64_t first,
                     absl::Span<const int32_t> history) const;

  std::unordered_map<BlockHandle, Block> blocks_;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_KEPT_BLOCKS_H_
