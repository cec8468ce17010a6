#include "storage/safetensors.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/json.h"

namespace lapidary {
namespace {

constexpr size_t kLengthBytes = 8;
// The limit of Hugging Face's own reader.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

struct ElementType {
  const char* name;
  size_t bytes;
};
constexpr ElementType kElementTypes[] = {
    {"BF16", 2}, {"F16", 2}, {"F32", 4},  {"F64", 8},     {"I8", 1},
    {"I16", 2},  {"I32", 4}, {"I64", 8},  {"U8", 1},      {"U16", 2},
    {"U32", 4},  {"U64", 8}, {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};

absl::Status Damaged(const std::string& path, absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat(path, ": ", what, "; download the file again"));
}

absl::Status Damaged(const std::string& path, const std::string& tensor,
                     absl::string_view what) {
  return Damaged(path, absl::StrCat(tensor, ": ", what));
}

// The bytes of a tensor of `shape`; false if they do not fit 64 bits.
bool ShapeBytes(const std::vector<int64_t>& shape, size_t element_bytes,
                uint64_t* bytes) {
  uint64_t product = element_bytes;
  for (const int64_t dim : shape) {
    if (dim != 0 &&
        product > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) /
                      static_cast<uint64_t>(dim)) {
      return false;
    }
    product *= static_cast<uint64_t>(dim);
  }
  *bytes = product;
  return true;
}

// Two offsets from the start of the data, or all dims of a shape.
bool ReadNumbers(const Json* list, std::vector<int64_t>* numbers) {
  if (list == nullptr || !list->is_array() || list->size() > 16) return false;
  for (const Json& value : *list) {
    const auto* number = value.get_ptr<const Json::number_unsigned_t*>();
    if (number == nullptr ||
        *number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return false;
    }
    numbers->push_back(static_cast<int64_t>(*number));
  }
  return true;
}

absl::StatusOr<SafetensorsEntry> ReadEntry(const std::string& path,
                                           const std::string& name,
                                           const Json& object,
                                           size_t data_start,
                                           size_t file_bytes) {
  SafetensorsEntry entry;
  entry.name = name;
  JsonFields fields(object, name);
  entry.dtype = fields.String("dtype", "");
  if (!fields.ok()) return Damaged(path, fields.status().message());
  const auto* type =
      std::find_if(std::begin(kElementTypes), std::end(kElementTypes),
                   [&](const ElementType& t) { return entry.dtype == t.name; });
  if (type == std::end(kElementTypes)) {
    return Damaged(path, name,
                   absl::StrCat("dtype is ", JsonForMessage(entry.dtype),
                                ", which safetensors does not have"));
  }
  std::vector<int64_t> offsets;
  if (!ReadNumbers(fields.Find("shape"), &entry.shape) ||
      !ReadNumbers(fields.Find("data_offsets"), &offsets) ||
      offsets.size() != 2 || offsets[0] > offsets[1]) {
    return Damaged(path, name, "shape or data_offsets is not a list of sizes");
  }
  const uint64_t data_bytes = file_bytes - data_start;
  if (static_cast<uint64_t>(offsets[1]) > data_bytes) {
    return Damaged(path, name,
                   absl::StrCat("ends at byte ", offsets[1],
                                " of the data, but the file "
                                "has only ",
                                data_bytes, ": it is cut off"));
  }
  entry.offset = data_start + offsets[0];
  entry.bytes = offsets[1] - offsets[0];
  uint64_t wanted = 0;
  if (!ShapeBytes(entry.shape, type->bytes, &wanted) || wanted != entry.bytes) {
    return Damaged(path, name,
                   absl::StrCat("has ", entry.bytes, " bytes, but its shape [",
                                absl::StrJoin(entry.shape, ", "), "] of ",
                                entry.dtype, " has other"));
  }
  return entry;
}

// The tensors must fill the data from its first byte to its last.
absl::Status CheckContiguous(const std::string& path, size_t data_start,
                             size_t file_bytes,
                             std::vector<SafetensorsEntry>* entries) {
  std::sort(entries->begin(), entries->end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::pair(a.offset, a.bytes) <
                     std::pair(b.offset, b.bytes);
            });
  size_t end = data_start;
  const SafetensorsEntry* previous = nullptr;
  for (const SafetensorsEntry& entry : *entries) {
    if (entry.offset < end) {
      return Damaged(path, entry.name,
                     absl::StrCat("overlaps ", previous->name));
    }
    if (entry.offset > end) {
      return Damaged(path, entry.name,
                     absl::StrCat(entry.offset - end,
                                  " bytes before it belong to no tensor"));
    }
    end = entry.offset + entry.bytes;
    previous = &entry;
  }
  if (end != file_bytes) {
    return Damaged(path, absl::StrCat("its last ", file_bytes - end,
                                      " bytes belong to no tensor"));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t SafetensorsEntry::elements() const {
  int64_t product = 1;
  for (const int64_t dim : shape) product *= dim;
  return product;
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(
    const std::string& path) {
  auto opened = MappedFile::Open(path, MappedFile::Access::kSequential);
  if (!opened.ok()) return opened.status();
  std::unique_ptr<MappedFile> file = *std::move(opened);
  if (file->size() < kLengthBytes) {
    return Damaged(path, absl::StrCat("has ", file->size(),
                                      " bytes: too short for safetensors"));
  }
  uint64_t header_bytes = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    header_bytes |= std::to_integer<uint64_t>(file->data()[i]) << (8 * i);
  }
  if (header_bytes > kMaxHeaderBytes ||
      header_bytes > file->size() - kLengthBytes) {
    return Damaged(path,
                   absl::StrCat("says that its header has ", header_bytes,
                                " bytes; the file has ", file->size(),
                                " (is it a Git LFS pointer, or cut off?)"));
  }
  const absl::string_view text(
      reinterpret_cast<const char*>(file->data()) + kLengthBytes, header_bytes);
  absl::StatusOr<Json> header = ParseJson(text, "its header");
  if (!header.ok()) return Damaged(path, header.status().message());
  if (!header->is_object()) return Damaged(path, "its header is no object");

  const size_t data_start = kLengthBytes + header_bytes;
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, object] : header->items()) {
    if (name == "__metadata__") continue;
    absl::StatusOr<SafetensorsEntry> entry =
        ReadEntry(path, name, object, data_start, file->size());
    if (!entry.ok()) return entry.status();
    entries.push_back(*std::move(entry));
  }
  if (auto s = CheckContiguous(path, data_start, file->size(), &entries);
      !s.ok()) {
    return s;
  }
  return std::unique_ptr<SafetensorsFile>(
      new SafetensorsFile(std::move(file), std::move(entries)));
}

}  // namespace lapidary
