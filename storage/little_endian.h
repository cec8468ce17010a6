// Numbers as files and frames have them.
#ifndef LAPIDARY_STORAGE_LITTLE_ENDIAN_H_
#define LAPIDARY_STORAGE_LITTLE_ENDIAN_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace lapidary {

// The number that up to 8 bytes make, the lowest first.
inline uint64_t LittleEndian(absl::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    number |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return number;
}

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_LITTLE_ENDIAN_H_
