#include "actors/kept_blocks.h"

#include "absl/strings/str_cat.h"

namespace lapidary {
namespace {

using kernels::kKvPagePositions;

absl::Span<const int32_t> TokensOf(absl::Span<const int32_t> history,
                                   int64_t number) {
  return history.subspan(number * kKvPagePositions, kKvPagePositions);
}

}  // namespace

absl::Status KeptBlocks::Find(const SequenceStart& start, int64_t window_blocks,
                              std::vector<const kernels::KvBlock*>* blocks,
                              BlockHandle* missing) const {
  const auto count = static_cast<int64_t>(start.prefix.size());
  if (static_cast<int64_t>(start.prefix_tokens.size()) !=
      count * kKvPagePositions) {
    return absl::InvalidArgumentError(
        absl::StrCat("a prefix of ", count, " blocks with ",
                     start.prefix_tokens.size(), " tokens"));
  }
  blocks->clear();
  BlockHandle parent = 0;
  for (int64_t number = 0; number < count; ++number) {
    const BlockHandle handle = start.prefix[number];
    auto it = blocks_.find(handle);
    if (it == blocks_.end() || it->second.parent != parent ||
        it->second.kv->number() != number || !it->second.kv->has_full() ||
        (number >= count - window_blocks && !it->second.kv->has_window()) ||
        it->second.tokens != TokensOf(start.prefix_tokens, number)) {
      *missing = handle;
      return absl::FailedPreconditionError(
          absl::StrCat("block ", number, " of the prefix, handle ", handle,
                       ", is not kept here; start the sequence without it"));
    }
    blocks->push_back(it->second.kv.get());
    parent = handle;
  }
  return absl::OkStatus();
}

absl::Status KeptBlocks::Check(const KeepBlock& keep, int64_t first,
                               absl::Span<const int32_t> history) const {
  const int64_t end = (int64_t{keep.number} + 1) * kKvPagePositions;
  if (keep.handle == 0 || keep.number < 0 || end <= first ||
      end > static_cast<int64_t>(history.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("block ", keep.number, ", handle ", keep.handle,
                     ", is to be kept of rows [", first, ", ", history.size(),
                     "), which do not complete it"));
  }
  const auto before = blocks_.find(keep.parent);
  if (keep.number == 0
          ? keep.parent != 0
          : before != blocks_.end() &&
                (before->second.kv->number() != keep.number - 1 ||
                 before->second.tokens != TokensOf(history, keep.number - 1))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "handle ", keep.parent, " is not that of the block before ", "block ",
        keep.number, ", handle ", keep.handle));
  }
  auto it = blocks_.find(keep.handle);
  if (it != blocks_.end() &&
      (it->second.parent != keep.parent ||
       it->second.kv->number() != keep.number ||
       it->second.tokens != TokensOf(history, keep.number))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "handle ", keep.handle, " is already that of another block"));
  }
  return absl::OkStatus();
}

absl::Status KeptBlocks::Add(kernels::KvPool* pool,
                             absl::Span<const KeepBlock> keep, int64_t first,
                             absl::Span<const int32_t> history,
                             std::vector<kernels::KvBlock*>* blocks) {
  int64_t last = -1;
  for (const KeepBlock& block : keep) {
    absl::Status status = Check(block, first, history);
    if (status.ok() && block.number <= last) {
      status = absl::InvalidArgumentError(
          "the blocks to be kept are not in ascending order");
    }
    if (!status.ok()) return status;
    last = block.number;
  }
  blocks->clear();
  for (const KeepBlock& block : keep) {
    Block& kept = blocks_[block.handle];
    if (kept.kv == nullptr) {
      const auto tokens = TokensOf(history, block.number);
      kept.parent = block.parent;
      kept.tokens.assign(tokens.begin(), tokens.end());
      kept.kv = std::make_unique<kernels::KvBlock>(pool, block.number);
    }
    blocks->push_back(kept.kv.get());
  }
  return absl::OkStatus();
}

std::vector<BlockHandle> KeptBlocks::Settle(absl::Span<const KeepBlock> keep) {
  std::vector<BlockHandle> not_kept;
  for (const KeepBlock& block : keep) {
    auto it = blocks_.find(block.handle);
    if (it == blocks_.end()) continue;
    Block& kept = it->second;
    if (kept.kv->has_full() && kept.kv->has_window()) {
      kept.filled = true;
      continue;
    }
    not_kept.push_back(block.handle);
    if (kept.filled) {
      kept.kv->DropWindow();
    } else {
      blocks_.erase(it);
    }
  }
  return not_kept;
}

void KeptBlocks::Drop(absl::Span<const BlockHandle> blocks,
                      absl::Span<const BlockHandle> windows) {
  for (BlockHandle handle : blocks) blocks_.erase(handle);
  for (BlockHandle handle : windows) {
    auto it = blocks_.find(handle);
    if (it != blocks_.end()) it->second.kv->DropWindow();
  }
}

}  // namespace lapidary
