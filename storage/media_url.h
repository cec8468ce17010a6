// URLs as the allow-list of media_source.h compares them.
#ifndef LAPIDARY_STORAGE_MEDIA_URL_H_
#define LAPIDARY_STORAGE_MEDIA_URL_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lapidary {

struct MediaUrl {
  std::string scheme;       // "http" or "https"
  std::string host;         // lower case; an IPv6 address in brackets
  std::string port;         // always there
  std::string path;         // begins with '/', without dot segments
  bool is_address = false;  // host is one, not a name
  std::string whole;        // as curl is to fetch it
};

// INVALID_ARGUMENT for what is no URL of http or https, for one with a user,
// and for a path with escaped dots or slashes, which servers read in more ways
// than one.
absl::StatusOr<MediaUrl> ParseMediaUrl(absl::string_view text);

// Whether `url` begins with `entry`: the same scheme, host and port, and a path
// at or below the entry's.
bool BeginsWith(const MediaUrl& url, const MediaUrl& entry);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_MEDIA_URL_H_
