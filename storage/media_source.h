// Pictures and sounds that a request names instead of carrying them: by URL or
// as a file of this machine, where the operator allows it.
//
//   MediaPolicy policy;
//   policy.urls = {"https://images.example.org/cats/"};
//   absl::StatusOr<std::string> bytes =
//       FetchMedia(policy, {MediaSource::Kind::kUrl, url}, cancelled);
//
// A request's words decide what this machine connects to and reads, so both are
// off unless they are allowed, and then go no further than what is:
//   - a URL begins with an entry of the list, and so does all it is redirected
//     to; its host has a public address, unless the entry names the address;
//   - a file lies in the allowed folder, wherever links lead.
#ifndef LAPIDARY_STORAGE_MEDIA_SOURCE_H_
#define LAPIDARY_STORAGE_MEDIA_SOURCE_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/media_policy.h"

struct sockaddr;

namespace lapidary {

// INVALID_ARGUMENT for an entry that is no beginning of a URL, and for a folder
// that is not there.
absl::Status CheckMediaPolicy(const MediaPolicy& policy);

// Whether the policy allows the source at all, without touching it:
// PERMISSION_DENIED if not, naming the flag that would; INVALID_ARGUMENT for
// what is no URL.
absl::Status AllowMedia(const MediaPolicy& policy, const MediaSource& source);

// The bytes. Blocks for up to max_time.
//   cancelled  asked now and then, from this thread; true gives it up
//
// Errors: those of AllowMedia; PERMISSION_DENIED for a redirect or an address
// that leads outside; NOT_FOUND, also for files outside; INVALID_ARGUMENT for
// what is too large, or no regular file; UNAVAILABLE for a server that fails or
// is too slow; CANCELLED.
absl::StatusOr<std::string> FetchMedia(const MediaPolicy& policy,
                                       const MediaSource& source,
                                       const std::function<bool()>& cancelled);

// Whether it is an address of the internet: not of this machine, of a private
// or local network, nor of many at once.
bool IsPublicAddress(const sockaddr& address);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_MEDIA_SOURCE_H_
