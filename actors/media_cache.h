// Soft tokens of images or sounds that were encoded before, by the very bytes
// of their files: what is found is right whatever anybody sends. Files are
// found by a checksum that others have made, and are compared only if that is
// equal.
#ifndef LAPIDARY_ACTORS_MEDIA_CACHE_H_
#define LAPIDARY_ACTORS_MEDIA_CACHE_H_

#include <cstddef>
#include <list>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "kernels/tensor.h"

namespace lapidary {

class MediaCache {
 public:
  // Holds files and soft tokens of so many bytes at most; those used longest
  // ago go first.
  explicit MediaCache(size_t capacity) : capacity_(capacity) {}

  // An empty tensor where the file is not there.
  //   key  EncodeImage::key
  kernels::Tensor Find(const std::string& key, const std::string& file);
  void Add(const std::string& key, std::shared_ptr<const std::string> file,
           kernels::Tensor rows);

  size_t bytes() const { return bytes_; }
  size_t capacity() const { return capacity_; }

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const std::string> file;
    kernels::Tensor rows;

    size_t bytes() const { return file->size() + rows.bytes(); }
  };

  const size_t capacity_;
  size_t bytes_ = 0;
  std::list<Entry> entries_;  // the one used last in front
  absl::flat_hash_map<std::string, std::list<Entry>::iterator> by_key_;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_MEDIA_CACHE_H_
