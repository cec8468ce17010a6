#include "storage/file_io.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lapidary {
namespace {

// Written bytes after which the kernel is told to bring them to disk, and
// those before them are waited for and dropped from the page cache.
constexpr uint64_t kFlushBytes = uint64_t{64} << 20;

std::string Hex(const XXH128_hash_t& hash) {
  return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
}

// Closes on return.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// Reads `path` from front to back, handing pieces to `consume`.
template <typename Consume>
absl::Status ReadInPieces(const std::string& path, Consume consume) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return FileError(errno, "cannot open", path);
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  std::vector<char> piece(size_t{1} << 20);
  while (true) {
    const ssize_t got = ::read(file.get(), piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, "cannot read", path);
    if (got == 0) return absl::OkStatus();
    if (!consume(piece.data(), static_cast<size_t>(got))) {
      return absl::OkStatus();
    }
  }
}

}  // namespace

absl::Status FileError(int errno_value, absl::string_view what,
                       const std::string& path) {
  const std::string message =
      absl::StrCat(what, " ", path, ": ", std::strerror(errno_value));
  switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(
          absl::StrCat(message, " (", FreeBytes(ParentFolder(path)),
                       " bytes free there); free some space"));
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::StatusOr<uint64_t> FileBytes(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) {
    return FileError(errno, "cannot open", path);
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a regular file"));
  }
  return static_cast<uint64_t>(info.st_size);
}

bool FileExists(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0;
}

absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     size_t max_bytes) {
  absl::StatusOr<uint64_t> size = FileBytes(path);
  if (!size.ok()) return size.status();
  std::string content;
  content.reserve(std::min<uint64_t>(*size, max_bytes));
  absl::Status read = ReadInPieces(path, [&](const char* data, size_t count) {
    content.append(data, count);
    return content.size() <= max_bytes;
  });
  if (!read.ok()) return read;
  if (content.size() > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " has more than ", max_bytes, " bytes; is it the right file?"));
  }
  return content;
}

absl::Status WriteFileAtomically(const std::string& path,
                                 absl::string_view content) {
  const std::string temporary = path + ".tmp";
  auto file = FileWriter::Create(temporary);
  if (!file.ok()) return file.status();
  if (auto s = (*file)->Append(content.data(), content.size()); !s.ok()) {
    return s;
  }
  if (auto s = (*file)->Finish(); !s.ok()) return s;
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    return FileError(errno, "cannot rename a file to", path);
  }
  return SyncFolder(ParentFolder(path));
}

absl::StatusOr<std::vector<std::string>> ListFolder(const std::string& path) {
  DIR* folder = ::opendir(path.c_str());
  if (folder == nullptr) return FileError(errno, "cannot list", path);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  ::closedir(folder);
  std::sort(names.begin(), names.end());
  return names;
}

std::string ParentFolder(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

absl::Status SyncFolder(const std::string& path) {
  const Descriptor folder(
      ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) return FileError(errno, "cannot open", path);
  if (::fsync(folder.get()) != 0) return FileError(errno, "cannot sync", path);
  return absl::OkStatus();
}

absl::Status MakeFolder(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) == 0) return absl::OkStatus();
  struct stat info;
  if (errno == EEXIST && ::stat(path.c_str(), &info) == 0 &&
      S_ISDIR(info.st_mode)) {
    return absl::OkStatus();
  }
  return FileError(errno, "cannot make the folder", path);
}

absl::Status RemoveAll(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return FileError(error.value(), "cannot delete", path);
  return absl::OkStatus();
}

uint64_t FreeBytes(const std::string& folder) {
  struct statvfs info;
  if (::statvfs(folder.c_str(), &info) != 0) return 0;
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

absl::Status CheckFreeSpace(const std::string& folder, uint64_t needed,
                            absl::string_view what) {
  const uint64_t available = FreeBytes(folder);
  if (available >= needed) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      what, " needs ", needed, " bytes in ", folder, ", where ", available,
      " are free; free ", needed - available, " more or choose another disk"));
}

std::string Checksum(absl::string_view bytes) {
  return Hex(XXH3_128bits(bytes.data(), bytes.size()));
}

absl::StatusOr<std::string> FileChecksum(const std::string& path) {
  XXH3_state_t* state = XXH3_createState();
  XXH3_128bits_reset(state);
  const absl::Status read =
      ReadInPieces(path, [state](const char* data, size_t count) {
        XXH3_128bits_update(state, data, count);
        return true;
      });
  const std::string checksum = Hex(XXH3_128bits_digest(state));
  XXH3_freeState(state);
  if (!read.ok()) return read;
  return checksum;
}

struct FileWriter::Impl {
  std::string path;
  int fd = -1;
  uint64_t size = 0;
  uint64_t flushing = 0;  // start of the range that is on its way to disk
  uint64_t dirty = 0;     // start of the range after it
  XXH3_state_t* hash = XXH3_createState();
};

FileWriter::FileWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  XXH3_128bits_reset(impl_->hash);
}

FileWriter::~FileWriter() {
  if (impl_->fd >= 0) ::close(impl_->fd);
  XXH3_freeState(impl_->hash);
}

absl::StatusOr<std::unique_ptr<FileWriter>> FileWriter::Create(
    const std::string& path) {
  const int fd =
      ::open(path.c_str(),
             O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) return FileError(errno, "cannot make", path);
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->fd = fd;
  return std::unique_ptr<FileWriter>(new FileWriter(std::move(impl)));
}

absl::Status FileWriter::Append(const void* data, size_t size) {
  XXH3_128bits_update(impl_->hash, data, size);
  const char* next = static_cast<const char*>(data);
  size_t left = size;
  while (left > 0) {
    const ssize_t written = ::write(impl_->fd, next, left);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(errno, "cannot write", impl_->path);
    next += written;
    left -= written;
  }
  impl_->size += size;
  if (impl_->size - impl_->dirty >= kFlushBytes) {
    // One range is written while the next is filled. Its errors come again
    // from fsync; here they only cost speed.
    ::sync_file_range(impl_->fd, impl_->dirty, impl_->size - impl_->dirty,
                      SYNC_FILE_RANGE_WRITE);
    if (impl_->dirty > impl_->flushing) {
      ::sync_file_range(impl_->fd, impl_->flushing,
                        impl_->dirty - impl_->flushing,
                        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                            SYNC_FILE_RANGE_WAIT_AFTER);
      ::posix_fadvise(impl_->fd, impl_->flushing,
                      impl_->dirty - impl_->flushing, POSIX_FADV_DONTNEED);
    }
    impl_->flushing = impl_->dirty;
    impl_->dirty = impl_->size;
  }
  return absl::OkStatus();
}

absl::Status FileWriter::AlignTo(size_t alignment) {
  static constexpr char kZeros[4096] = {};
  const size_t over = impl_->size % alignment;
  return over == 0 ? absl::OkStatus() : Append(kZeros, alignment - over);
}

absl::Status FileWriter::Finish() {
  if (::fsync(impl_->fd) != 0) {
    return FileError(errno, "cannot sync", impl_->path);
  }
  // Whoever maps it reads it anew, in large pages.
  ::posix_fadvise(impl_->fd, 0, 0, POSIX_FADV_DONTNEED);
  const int fd = std::exchange(impl_->fd, -1);
  if (::close(fd) != 0) return FileError(errno, "cannot close", impl_->path);
  return absl::OkStatus();
}

const std::string& FileWriter::path() const { return impl_->path; }
uint64_t FileWriter::size() const { return impl_->size; }
std::string FileWriter::checksum() const {
  return Hex(XXH3_128bits_digest(impl_->hash));
}

}  // namespace lapidary
