// A file mapped read-only: its bytes, as memory that the operating system
// fetches and drops as it likes.
//
//   auto file = MappedFile::Open("model.safetensors");
//   Use((*file)->data(), (*file)->size());
//   (*file)->Release(0, consumed);    // no longer counted as ours
//
// The file must not shrink while it is mapped.
#ifndef LAPIDARY_STORAGE_MAPPED_FILE_H_
#define LAPIDARY_STORAGE_MAPPED_FILE_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace lapidary {

class MappedFile {
 public:
  // How the bytes will be used: a hint.
  enum class Access { kSequential, kResident };

  // Errors: as FileError; INVALID_ARGUMENT for what is no regular file.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(
      const std::string& path, Access access);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  // Page-aligned; null for an empty file.
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

  // Takes the whole pages within [offset, offset + bytes) out of this
  // process's memory. Reading them again fetches them again.
  void Release(size_t offset, size_t bytes) const;

 private:
  MappedFile(std::string path, std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  std::byte* data_;
  size_t size_;
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_MAPPED_FILE_H_
