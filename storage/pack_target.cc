#include "storage/pack_target.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/file_io.h"
#include "storage/model_files.h"

namespace lapidary {
namespace {

constexpr char kNotice[] =
    "lapidary pack is at work here, or was stopped. Run it again: it starts "
    "over.\n";

// What a killed packer may have left.
bool IsOurs(absl::string_view name) {
  for (const char* copied : kCopiedFiles) {
    if (name == copied) return true;
  }
  return name == kWeightsFolder || name == kPleFolder ||
         name == kUnfinishedFile || name == absl::StrCat(kManifestFile, ".tmp");
}

}  // namespace

absl::StatusOr<std::unique_ptr<PackTarget>> PackTarget::Claim(
    const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return FileError(error.value(), "cannot make the folder", folder);
  const int lock = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock < 0) return FileError(errno, "cannot open", folder);
  auto target = std::unique_ptr<PackTarget>(new PackTarget(folder, lock));
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return FileError(errno, "cannot lock", folder);
    return absl::AbortedError(
        absl::StrCat("another lapidary pack is writing into ", folder,
                     "; wait for it, or give another folder"));
  }
  if (auto s = target->Prepare(); !s.ok()) return s;
  return target;
}

PackTarget::~PackTarget() {
  if (lock_ >= 0) ::close(lock_);
}

std::string PackTarget::Path(absl::string_view name) const {
  return absl::StrCat(folder_, "/", name);
}

absl::Status PackTarget::Prepare() {
  if (FileExists(Path(kManifestFile))) {
    return absl::AlreadyExistsError(
        absl::StrCat(folder_,
                     " holds a packed model already; delete it, or "
                     "give another folder"));
  }
  absl::StatusOr<std::vector<std::string>> names = ListFolder(folder_);
  if (!names.ok()) return names.status();
  const bool unfinished = FileExists(Path(kUnfinishedFile));
  for (const std::string& name : *names) {
    if (!unfinished || !IsOurs(name)) {
      return absl::AlreadyExistsError(
          absl::StrCat(folder_, " holds ", name,
                       ", which is not of a packed model; give a new folder"));
    }
  }
  // The notice is on disk before anything else is, and goes last. Not written
  // by rename: a temporary file without it would be a foreign one.
  if (!unfinished) {
    auto notice = FileWriter::Create(Path(kUnfinishedFile));
    if (!notice.ok()) return notice.status();
    if (auto s = (*notice)->Append(kNotice, sizeof(kNotice) - 1); !s.ok()) {
      return s;
    }
    if (auto s = (*notice)->Finish(); !s.ok()) return s;
    if (auto s = SyncFolder(folder_); !s.ok()) return s;
  }
  for (const std::string& name : *names) {
    if (name == kUnfinishedFile) continue;
    if (auto s = RemoveAll(Path(name)); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status PackTarget::Publish(absl::string_view manifest) {
  if (auto s = SyncFolder(Path(kWeightsFolder)); !s.ok()) return s;
  if (auto s = SyncFolder(folder_); !s.ok()) return s;
  if (auto s = WriteFileAtomically(Path(kManifestFile), manifest); !s.ok()) {
    return s;
  }
  // The model is complete whether or not the notice can be deleted.
  RemoveAll(Path(kUnfinishedFile)).IgnoreError();
  return absl::OkStatus();
}

void PackTarget::Discard() {
  const absl::StatusOr<std::vector<std::string>> names = ListFolder(folder_);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (IsOurs(name) && name != kUnfinishedFile) {
      RemoveAll(Path(name)).IgnoreError();
    }
  }
  RemoveAll(Path(kUnfinishedFile)).IgnoreError();
}

}  // namespace lapidary
