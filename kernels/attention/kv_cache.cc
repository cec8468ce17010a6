#include "kernels/attention/kv_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/attention/kv_block.h"

namespace lapidary::kernels {
namespace {

int64_t PagesOf(const KvLayout::Layer& layer, int64_t positions) {
  const int64_t blocks = (positions + kKvPagePositions - 1) / kKvPagePositions;
  return layer.ring > 0 ? std::min(layer.RingPages(), blocks) : blocks;
}

}  // namespace

size_t KvLayout::PageBytes() const {
  return 2 * kKvPagePositions * kv_width * SizeOf(dtype);
}

int64_t KvLayout::PagesFor(int64_t positions) const {
  int64_t pages = 0;
  for (const Layer& layer : layers) pages += PagesOf(layer, positions);
  return pages;
}

int64_t KvLayout::FullLayers() const {
  return std::count_if(layers.begin(), layers.end(),
                       [](const Layer& layer) { return layer.ring == 0; });
}

int64_t KvLayout::RingLayers() const {
  return static_cast<int64_t>(layers.size()) - FullLayers();
}

int64_t KvLayout::WindowBlocks() const {
  int64_t blocks = 0;
  for (const Layer& layer : layers) {
    blocks = std::max(blocks, layer.RingPages());
  }
  return blocks;
}

KvPool::KvPool(KvLayout layout, int64_t pages)
    : layout_(std::move(layout)), pages_total_(pages) {
  const size_t bytes = std::max<size_t>(1, pages * layout_.PageBytes());
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  // Without memory the pool is empty: every sequence is refused.
  if (memory == MAP_FAILED) {
    pages_total_ = 0;
    return;
  }
  memory_ = static_cast<std::byte*>(memory);
  // A step reads all of it: in pages of 4 KB, looking up where they lie takes
  // as long as the reading. A hint, which may come to nothing.
  madvise(memory, bytes, MADV_HUGEPAGE);
  pages_.resize(pages);
  // Low pages are handed out first, so that memory once touched is reused.
  for (int64_t page = pages - 1; page >= 0; --page) free_.push_back(page);
}

KvPool::~KvPool() {
  if (memory_ != nullptr) {
    munmap(memory_, std::max<size_t>(1, pages_total_ * layout_.PageBytes()));
  }
}

int32_t KvPool::Take(bool ring) {
  const int32_t page = free_.back();
  free_.pop_back();
  pages_[page] = {1, ring, false};
  return page;
}

void KvPool::Hold(int32_t page) {
  if (Idle(page)) --idle_;
  ++pages_[page].holders;
  if (pages_[page].ring) ++promised_;
}

void KvPool::Drop(int32_t page) {
  if (--pages_[page].holders == 0) {
    free_.push_back(page);
    return;
  }
  if (pages_[page].ring) --promised_;
  if (Idle(page)) ++idle_;
}

void KvPool::SetKept(int32_t page, bool kept) {
  if (Idle(page)) --idle_;
  pages_[page].kept = kept;
  kept_ += kept ? 1 : -1;
  if (Idle(page)) ++idle_;
}

absl::StatusOr<std::unique_ptr<KvSequence>> KvSequence::Create(
    KvPool* pool, int64_t max_positions,
    absl::Span<const KvBlock* const> prefix) {
  const KvLayout& layout = pool->layout_;
  const auto blocks = static_cast<int64_t>(prefix.size());
  if (blocks * kKvPagePositions >= max_positions && blocks > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("a prefix of ", blocks, " blocks for a sequence of ",
                     max_positions, " positions"));
  }
  const int64_t windows = blocks - layout.WindowBlocks();
  for (int64_t block = 0; block < blocks; ++block) {
    if (!prefix[block]->has_full() ||
        (block >= windows && !prefix[block]->has_window())) {
      return absl::FailedPreconditionError(absl::StrCat(
          "block ", block, " of a prefix of ", blocks, " is not kept whole"));
    }
  }
  const int64_t wanted =
      layout.PagesFor(max_positions) - blocks * layout.FullLayers();
  if (wanted > pool->pages_free()) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the KV cache has ", pool->pages_free(), " of ", pool->pages_total_,
        " pages free, a sequence of ", max_positions, " positions needs ",
        wanted, "; wait for others to end, or give the node more KV memory"));
  }
  return absl::WrapUnique(new KvSequence(pool, max_positions, prefix));
}

KvSequence::KvSequence(KvPool* pool, int64_t max_positions,
                       absl::Span<const KvBlock* const> prefix)
    : pool_(pool), max_positions_(max_positions) {
  const auto blocks = static_cast<int64_t>(prefix.size());
  const std::vector<KvLayout::Layer>& layers = pool->layout_.layers;
  for (size_t index = 0; index < layers.size(); ++index) {
    std::vector<int32_t>& pages =
        pages_.emplace_back(PagesOf(layers[index], max_positions), int32_t{-1});
    const auto count = static_cast<int64_t>(pages.size());
    const bool ring = layers[index].ring > 0;
    for (int64_t block = ring ? std::max<int64_t>(0, blocks - count) : 0;
         block < blocks; ++block) {
      pages[block % count] = prefix[block]->page(index);
      pool->Hold(pages[block % count]);
    }
    for (int32_t& page : pages) {
      if (page < 0) page = pool->Take(ring);
    }
  }
}

KvSequence::~KvSequence() {
  // In the order opposite to that of taking, so that what was touched first is
  // used again first.
  for (auto layer = pages_.rbegin(); layer != pages_.rend(); ++layer) {
    for (auto page = layer->rbegin(); page != layer->rend(); ++page) {
      pool_->Drop(*page);
    }
  }
}

int32_t KvSequence::Page(int64_t index, int64_t position) const {
  const std::vector<int32_t>& pages = pages_[index];
  return pages[position / kKvPagePositions %
               static_cast<int64_t>(pages.size())];
}

void KvSequence::MakeWritable(int64_t index, int64_t position, int64_t rows) {
  const int32_t held = Page(index, position);
  if (pool_->pages_[held].holders == 1) return;
  const int32_t own = pool_->Take(pool_->pages_[held].ring);
  // Of the block before it in the ring a query still sees what this write does
  // not replace.
  if (rows < kKvPagePositions) {
    std::memcpy(pool_->Address(own), pool_->Address(held),
                pool_->layout_.PageBytes());
  }
  pool_->Drop(held);
  std::vector<int32_t>& pages = pages_[index];
  pages[position / kKvPagePositions % static_cast<int64_t>(pages.size())] = own;
}

std::byte* KvSequence::Key(int64_t index, int64_t position) {
  return pool_->Address(Page(index, position)) +
         position % kKvPagePositions *
             (pool_->layout_.RowBytes() / pool_->layout_.kv_heads);
}

std::byte* KvSequence::Value(int64_t index, int64_t position) {
  return Key(index, position) + kKvPagePositions * pool_->layout_.RowBytes();
}

}  // namespace lapidary::kernels
