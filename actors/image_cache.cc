#include "actors/image_cache.h"

#include <utility>

namespace lapidary {

kernels::Tensor ImageCache::Find(const std::string& file) {
  const auto it = by_file_.find(file);
  if (it == by_file_.end()) return {};
  entries_.splice(entries_.begin(), entries_, it->second);
  return entries_.front().rows;
}

void ImageCache::Add(std::shared_ptr<const std::string> file,
                     kernels::Tensor rows) {
  Entry entry{std::move(file), std::move(rows)};
  if (entry.bytes() > capacity_ || by_file_.count(*entry.file) != 0) return;
  bytes_ += entry.bytes();
  entries_.push_front(std::move(entry));
  by_file_.emplace(*entries_.front().file, entries_.begin());
  while (bytes_ > capacity_) {
    bytes_ -= entries_.back().bytes();
    by_file_.erase(*entries_.back().file);
    entries_.pop_back();
  }
}

}  // namespace lapidary
