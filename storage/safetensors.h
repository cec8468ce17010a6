// One .safetensors file: its header, checked in full before any byte of a
// tensor is used.
//
//   [8 bytes]  header length n, little-endian
//   [n bytes]  JSON: {"name": {"dtype", "shape", "data_offsets": [begin, end]}}
//   [rest]     the tensors, row-major, one after the other without gaps
#ifndef LAPIDARY_STORAGE_SAFETENSORS_H_
#define LAPIDARY_STORAGE_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/mapped_file.h"

namespace lapidary {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // as the file spells it: "BF16", "F32", "I64", …
  std::vector<int64_t> shape;
  size_t offset = 0;  // from the start of the file; of any alignment
  size_t bytes = 0;

  int64_t elements() const;
};

class SafetensorsFile {
 public:
  // Errors: NOT_FOUND; DATA_LOSS, naming the file and the tensor, for a file
  // that is cut off, or whose header or offsets are not what the format says.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(
      const std::string& path);

  const MappedFile& file() const { return *file_; }
  // In file order.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }

 private:
  SafetensorsFile(std::unique_ptr<MappedFile> file,
                  std::vector<SafetensorsEntry> entries)
      : file_(std::move(file)), entries_(std::move(entries)) {}

  std::unique_ptr<MappedFile> file_;
  std::vector<SafetensorsEntry> entries_;
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_SAFETENSORS_H_
