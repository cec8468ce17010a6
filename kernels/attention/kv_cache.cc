#include "kernels/attention/kv_cache.h"

#include <sys/mman.h>

#include <algorithm>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace lapidary::kernels {
namespace {

int64_t PagesOf(int64_t slots) {
  return (slots + kKvPagePositions - 1) / kKvPagePositions;
}

int64_t SlotsOf(const KvLayout::Layer& layer, int64_t positions) {
  return layer.ring > 0 ? std::min(layer.ring, positions) : positions;
}

}  // namespace

size_t KvLayout::PageBytes() const {
  return 2 * kKvPagePositions * kv_width * SizeOf(dtype);
}

int64_t KvLayout::PagesFor(int64_t positions) const {
  int64_t pages = 0;
  for (const Layer& layer : layers) pages += PagesOf(SlotsOf(layer, positions));
  return pages;
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
  // Low pages are handed out first, so that memory once touched is reused.
  for (int64_t page = pages - 1; page >= 0; --page) free_.push_back(page);
}

KvPool::~KvPool() {
  if (memory_ != nullptr) {
    munmap(memory_, std::max<size_t>(1, pages_total_ * layout_.PageBytes()));
  }
}

absl::StatusOr<std::unique_ptr<KvSequence>> KvSequence::Create(
    KvPool* pool, int64_t max_positions) {
  const int64_t wanted = pool->layout_.PagesFor(max_positions);
  const auto free = static_cast<int64_t>(pool->free_.size());
  if (wanted > free) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the KV cache has ", free, " of ", pool->pages_total_,
        " pages free, a sequence of ", max_positions, " positions needs ",
        wanted, "; wait for others to end, or give the node more KV memory"));
  }
  return absl::WrapUnique(new KvSequence(pool, max_positions));
}

KvSequence::KvSequence(KvPool* pool, int64_t max_positions)
    : pool_(pool), max_positions_(max_positions) {
  for (const KvLayout::Layer& layer : pool->layout_.layers) {
    std::vector<int32_t>& pages = pages_.emplace_back();
    for (int64_t n = PagesOf(SlotsOf(layer, max_positions)); n > 0; --n) {
      pages.push_back(pool->free_.back());
      pool->free_.pop_back();
    }
  }
}

KvSequence::~KvSequence() {
  for (const std::vector<int32_t>& pages : pages_) {
    pool_->free_.insert(pool_->free_.end(), pages.rbegin(), pages.rend());
  }
}

std::byte* KvSequence::Slot(int64_t index, int64_t position,
                            int64_t* slot_in_page) {
  const int64_t ring = pool_->layout_.layers[index].ring;
  const int64_t slot = ring > 0 ? position % ring : position;
  *slot_in_page = slot % kKvPagePositions;
  return pool_->memory_ + pages_[index][slot / kKvPagePositions] *
                              static_cast<int64_t>(pool_->layout_.PageBytes());
}

std::byte* KvSequence::Key(int64_t index, int64_t position) {
  int64_t slot = 0;
  std::byte* page = Slot(index, position, &slot);
  return page + slot * pool_->layout_.RowBytes();
}

std::byte* KvSequence::Value(int64_t index, int64_t position) {
  return Key(index, position) + kKvPagePositions * pool_->layout_.RowBytes();
}

}  // namespace lapidary::kernels
