#include "storage/media_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "storage/media_http.h"
#include "storage/media_url.h"
#include "storage/utf8.h"

namespace lapidary {
namespace {

constexpr char kUrlFlag[] = "--media-urls";
constexpr char kFolderFlag[] = "--media-files";

absl::StatusOr<MediaUrl> ParseEntry(const std::string& entry) {
  if (absl::StrContains(entry, "://")) return ParseMediaUrl(entry);
  return ParseMediaUrl(absl::StrCat("https://", entry));
}

// Closes on every way out.
struct Descriptor {
  explicit Descriptor(int fd) : fd(fd) {}
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int fd;
};

// Nothing where there is no such path.
std::optional<std::string> RealPath(const std::string& path) {
  char resolved[PATH_MAX];
  if (path.find('\0') != std::string::npos ||
      realpath(path.c_str(), resolved) == nullptr) {
    return std::nullopt;
  }
  return std::string(resolved);
}

bool IsInside(const std::string& path, const std::string& folder) {
  return absl::StartsWith(path,
                          folder == "/" ? folder : absl::StrCat(folder, "/"));
}

// The same for what lies elsewhere and for what is nowhere: a client need not
// learn what files the node has outside of the folder.
absl::Status NotInFolder(const std::string& name) {
  return absl::NotFoundError(
      absl::StrCat(Quoted(name), " is not in the folder of ", kFolderFlag));
}

absl::StatusOr<std::string> ReadAll(int fd, const std::string& name,
                                    size_t max_bytes) {
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(name), " is no regular file"));
  }
  if (static_cast<uint64_t>(info.st_size) > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(Quoted(name), " has ",
                                                   info.st_size, " bytes, ",
                                                   max_bytes, " are taken"));
  }
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = read(fd, bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::UnavailableError(
          absl::StrCat(Quoted(name), ": ", std::strerror(errno)));
    }
    if (got == 0) break;  // it became shorter
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

absl::StatusOr<std::string> ReadInFolder(const MediaPolicy& policy,
                                         const std::string& name) {
  const auto folder = RealPath(policy.folder);
  if (!folder) return NotInFolder(name);
  const auto path = RealPath(absl::StartsWith(name, "/")
                                 ? name
                                 : absl::StrCat(policy.folder, "/", name));
  if (!path || !IsInside(*path, *folder)) return NotInFolder(name);
  // Not blocking: a pipe would wait for its writer.
  const Descriptor file(
      open(path->c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.fd < 0) {
    return errno == EACCES ? absl::PermissionDeniedError(absl::StrCat(
                                 Quoted(name), ": ", std::strerror(errno)))
                           : absl::NotFoundError(absl::StrCat(
                                 Quoted(name), ": ", std::strerror(errno)));
  }
  // The path may have become another's meanwhile: what counts is what is open.
  const auto opened = RealPath(absl::StrCat("/proc/self/fd/", file.fd));
  if (!opened || !IsInside(*opened, *folder)) return NotInFolder(name);
  return ReadAll(file.fd, name, policy.max_bytes);
}

}  // namespace

absl::Status CheckMediaPolicy(const MediaPolicy& policy) {
  for (const std::string& entry : policy.urls) {
    const auto parsed = ParseEntry(entry);
    if (!parsed.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(kUrlFlag, ": ", parsed.status().message()));
    }
  }
  struct stat info;
  if (!policy.folder.empty() &&
      (stat(policy.folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))) {
    return absl::InvalidArgumentError(
        absl::StrCat(kFolderFlag, ": ", policy.folder, " is no folder"));
  }
  return absl::OkStatus();
}

absl::Status AllowMedia(const MediaPolicy& policy, const MediaSource& source) {
  if (source.kind == MediaSource::Kind::kFile) {
    if (!policy.folder.empty()) return absl::OkStatus();
    return absl::PermissionDeniedError(absl::StrCat(
        "this node reads no files for its clients; send the bytes, or start "
        "it with ",
        kFolderFlag, "=FOLDER"));
  }
  if (policy.urls.empty()) {
    return absl::PermissionDeniedError(absl::StrCat(
        "this node fetches no URLs; send the bytes, or start it with ",
        kUrlFlag, "=PREFIX,…"));
  }
  const auto url = ParseMediaUrl(source.name);
  if (!url.ok()) return url.status();
  for (const std::string& entry : policy.urls) {
    const auto allowed = ParseEntry(entry);
    if (allowed.ok() && BeginsWith(*url, *allowed)) return absl::OkStatus();
  }
  return absl::PermissionDeniedError(
      absl::StrCat(Quoted(source.name), " begins with no entry of ", kUrlFlag));
}

absl::StatusOr<std::string> FetchMedia(const MediaPolicy& policy,
                                       const MediaSource& source,
                                       const std::function<bool()>& cancelled) {
  if (source.kind == MediaSource::Kind::kFile) {
    const absl::Status allowed = AllowMedia(policy, source);
    if (!allowed.ok()) return allowed;
    return ReadInFolder(policy, source.name);
  }
  const absl::Time until = absl::Now() + policy.max_time;
  MediaSource at = source;
  for (int redirects = 0; redirects <= policy.max_redirects; ++redirects) {
    const absl::Status allowed = AllowMedia(policy, at);
    if (!allowed.ok()) return allowed;
    const auto url = ParseMediaUrl(at.name);
    if (!url.ok()) return url.status();
    auto response = HttpGet(*url, policy.max_bytes, until, cancelled);
    if (!response.ok()) return response.status();
    if (response->redirect.empty()) return std::move(response->bytes);
    at.name = response->redirect;
  }
  return absl::UnavailableError(absl::StrCat(Quoted(source.name),
                                             " is redirected more than ",
                                             policy.max_redirects, " times"));
}

}  // namespace lapidary
