// The image files of tests/goldens/image, and what Hugging Face makes of them.
#ifndef LAPIDARY_TESTS_SUPPORT_IMAGE_GOLDENS_H_
#define LAPIDARY_TESTS_SUPPORT_IMAGE_GOLDENS_H_

#include <string>

#include "storage/json.h"
#include "tests/support/files.h"

namespace lapidary {

inline std::string ImageGoldenPath(const std::string& name) {
  return "tests/goldens/image/" + name;
}

// The bytes of one file, e.g. "jpg_420.jpg".
inline std::string ImageFile(const std::string& name) {
  return ReadBytes(ImageGoldenPath(name));
}

// The cases of golden.json (tests/goldens/README.md).
inline Json ImageGoldens() {
  return (*ParseJson(ImageFile("golden.json"), "golden.json"))["cases"];
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_SUPPORT_IMAGE_GOLDENS_H_
