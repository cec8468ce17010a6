// One GET of a URL that is allowed (media_source.h).
#ifndef LAPIDARY_STORAGE_MEDIA_HTTP_H_
#define LAPIDARY_STORAGE_MEDIA_HTTP_H_

#include <cstddef>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/media_url.h"

namespace lapidary {

struct HttpResponse {
  std::string bytes;
  std::string redirect;  // the URL that it points to; empty: bytes are there
};

// Connects to public addresses only, unless the URL's host is an address.
// Follows nothing, sends no cookies, uses no proxy. Errors as of FetchMedia.
absl::StatusOr<HttpResponse> HttpGet(const MediaUrl& url, size_t max_bytes,
                                     absl::Time until,
                                     const std::function<bool()>& cancelled);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_MEDIA_HTTP_H_
