#include "kernels/attention/kv_block.h"

namespace lapidary::kernels {

KvBlock::KvBlock(KvPool* pool, int64_t number)
    : pool_(pool), number_(number), pages_(pool->layout_.layers.size(), -1) {}

KvBlock::~KvBlock() {
  for (size_t index = 0; index < pages_.size(); ++index) DropPage(index);
}

bool KvBlock::Has(bool ring) const {
  for (size_t index = 0; index < pages_.size(); ++index) {
    const bool in_ring = pool_->layout_.layers[index].ring > 0;
    if (in_ring == ring && pages_[index] < 0) return false;
  }
  return true;
}

void KvBlock::TakePage(int64_t index, const KvSequence& sequence) {
  if (pages_[index] >= 0) return;
  const bool ring = pool_->layout_.layers[index].ring > 0;
  if (ring && pool_->pages_free() < 1) return;
  const int32_t page = sequence.Page(index, number_ * kKvPagePositions);
  if (pool_->pages_[page].kept) return;
  pool_->Hold(page);
  pool_->SetKept(page, true);
  pages_[index] = page;
}

void KvBlock::DropPage(int64_t index) {
  if (pages_[index] < 0) return;
  pool_->SetKept(pages_[index], false);
  pool_->Drop(pages_[index]);
  pages_[index] = -1;
}

void KvBlock::DropWindow() {
  for (size_t index = 0; index < pages_.size(); ++index) {
    if (pool_->layout_.layers[index].ring > 0) DropPage(index);
  }
}

}  // namespace lapidary::kernels
