// The folder that packing writes: taken for one packer alone, emptied of what
// a killed one left, and finished in one step.
//
// While a packer works, and after it was killed, the folder holds the file
// packing-unfinished. Only a folder with that file is ever emptied.
#ifndef LAPIDARY_STORAGE_PACK_TARGET_H_
#define LAPIDARY_STORAGE_PACK_TARGET_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lapidary {

class PackTarget {
 public:
  // Makes the folder (and its parents) if need be.
  //
  // Errors: ALREADY_EXISTS for a finished model or foreign files, ABORTED
  // where another packer works, and as FileError.
  static absl::StatusOr<std::unique_ptr<PackTarget>> Claim(
      const std::string& folder);
  ~PackTarget();
  PackTarget(const PackTarget&) = delete;
  PackTarget& operator=(const PackTarget&) = delete;

  const std::string& folder() const { return folder_; }
  std::string Path(absl::string_view name) const;

  // Writes manifest.json: from then on the folder is a finished model.
  absl::Status Publish(absl::string_view manifest);

  // Deletes what was written, as far as that goes; for a pack that failed.
  void Discard();

 private:
  PackTarget(std::string folder, int lock)
      : folder_(std::move(folder)), lock_(lock) {}
  absl::Status Prepare();

  std::string folder_;
  int lock_;  // descriptor of the folder, locked
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_PACK_TARGET_H_
