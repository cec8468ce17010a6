#include "actors/media_cache.h"

#include <utility>

namespace lapidary {

kernels::Tensor MediaCache::Find(const std::string& key,
                                 const std::string& file) {
  const auto it = by_key_.find(key);
  // Somebody may make two files of one key.
  if (it == by_key_.end() || *it->second->file != file) return {};
  entries_.splice(entries_.begin(), entries_, it->second);
  return entries_.front().rows;
}

void MediaCache::Add(const std::string& key,
                     std::shared_ptr<const std::string> file,
                     kernels::Tensor rows) {
  Entry entry{key, std::move(file), std::move(rows)};
  if (entry.bytes() > capacity_ || by_key_.count(key) != 0) return;
  bytes_ += entry.bytes();
  entries_.push_front(std::move(entry));
  by_key_.emplace(key, entries_.begin());
  while (bytes_ > capacity_) {
    bytes_ -= entries_.back().bytes();
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

}  // namespace lapidary
