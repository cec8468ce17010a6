// Files as Lapidary writes and reads them: whole small files, and large ones
// streamed to disk with a checksum, without filling memory with dirty pages.
//
//   auto file = FileWriter::Create("weights/global.bin");
//   (*file)->Append(panel, bytes);
//   (*file)->AlignTo(4096);
//   (*file)->Finish();               // durable
//   (*file)->checksum();             // XXH3-128 of all of it
//
// Errors name the path and carry the system's reason; a full disk is
// RESOURCE_EXHAUSTED and says how much is free.
#ifndef LAPIDARY_STORAGE_FILE_IO_H_
#define LAPIDARY_STORAGE_FILE_IO_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lapidary {

// The status of a failed system call on `path`: `errno_value` as
// NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED, … `what` says what was
// tried, e.g. "cannot write".
absl::Status FileError(int errno_value, absl::string_view what,
                       const std::string& path);

// All of a regular file. Errors: NOT_FOUND; INVALID_ARGUMENT if it is larger
// than `max_bytes`.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes);

// Writes `path` through a temporary file and a rename, durably: after a crash
// there is the old file or the new one.
absl::Status WriteFileAtomically(const std::string& path,
                                 absl::string_view content);

// Size of a regular file.
absl::StatusOr<uint64_t> FileBytes(const std::string& path);

bool FileExists(const std::string& path);

// Names in a folder, sorted, without "." and "..".
absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path);

// The folder that `path` is in; "." for a bare name. `path` does not end with
// a slash.
std::string ParentFolder(const std::string& path);

// Makes the entries of a folder durable.
absl::Status SyncFolder(const std::string& path);

// Makes a folder; its parent must exist. Fine if it is there.
absl::Status MakeFolder(const std::string& path);

// Deletes a file or a folder with all in it; fine if it is absent. Follows no
// links.
absl::Status RemoveAll(const std::string& path);

// RESOURCE_EXHAUSTED unless the file system of `folder` has `needed` bytes
// free for us. `what` names what is to be written.
absl::Status CheckFreeSpace(const std::string& folder, uint64_t needed,
                            absl::string_view what);

// Bytes that this process may still write on the file system of `folder`; 0 if
// that cannot be said.
uint64_t FreeBytes(const std::string& folder);

// XXH3-128 as 32 lower-case hex digits.
std::string Checksum(absl::string_view bytes);

// Of a whole file, read in bounded pieces.
absl::StatusOr<std::string> FileChecksum(const std::string& path);

class FileWriter {
 public:
  // Makes the file, or empties it.
  static absl::StatusOr<std::unique_ptr<FileWriter>> Create(
      const std::string& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  absl::Status Append(const void* data, size_t size);
  // Zeros up to a multiple of `alignment` (≤ 4096).
  absl::Status AlignTo(size_t alignment);
  // Syncs and closes. Nothing may be appended any more.
  absl::Status Finish();

  const std::string& path() const;
  uint64_t size() const;         // bytes appended
  std::string checksum() const;  // of all bytes appended

 private:
  struct Impl;
  explicit FileWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_FILE_IO_H_
