// What a request may name, and what of it is allowed (media_source.h).
#ifndef LAPIDARY_STORAGE_MEDIA_POLICY_H_
#define LAPIDARY_STORAGE_MEDIA_POLICY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace lapidary {

struct MediaSource {
  enum class Kind : uint8_t { kUrl = 0, kFile = 1 };
  Kind kind = Kind::kUrl;
  std::string name;  // the URL, or the path
};

struct MediaPolicy {
  // Beginnings of URLs: "https://images.example.org/cats/",
  // "http://10.0.0.7:8080". A host alone means https. Empty: none is fetched.
  std::vector<std::string> urls;
  // The folder whose files are read; empty: none.
  std::string folder;
  size_t max_bytes = size_t{32} << 20;
  absl::Duration max_time = absl::Seconds(10);  // of a URL, redirects and all
  int max_redirects = 3;
};

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_MEDIA_POLICY_H_
