// Files told apart by how they begin.
#ifndef LAPIDARY_STORAGE_FILE_MAGIC_H_
#define LAPIDARY_STORAGE_FILE_MAGIC_H_

#include <cstddef>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace lapidary {

// A file begins with `first`, and has `then` at `offset`.
struct Magic {
  absl::string_view first;
  size_t offset;
  absl::string_view then;

  bool Matches(absl::string_view bytes) const {
    return absl::StartsWith(bytes, first) && bytes.size() >= offset &&
           absl::StartsWith(bytes.substr(offset), then);
  }
};

// A kind of file that people send instead: "a BMP image".
struct OtherFile {
  Magic magic;
  const char* name;
};

// What bytes are, for an error: the first of `others` that they match.
inline std::string NameFile(absl::string_view bytes,
                            absl::Span<const OtherFile> others) {
  if (bytes.empty()) return "no bytes";
  for (const OtherFile& other : others) {
    if (other.magic.Matches(bytes)) return other.name;
  }
  return absl::StrCat("an unknown kind of file that begins with the bytes ",
                      absl::BytesToHexString(bytes.substr(0, 8)));
}

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_FILE_MAGIC_H_
