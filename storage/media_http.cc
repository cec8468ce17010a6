#include "storage/media_http.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "storage/media_source.h"
#include "storage/utf8.h"

namespace lapidary {
namespace {

constexpr size_t kMaxHeaderBytes = 64 << 10;

// Of one request, for curl's callbacks.
struct Transfer {
  size_t max_bytes = 0;
  bool any_address = false;
  std::function<bool()> cancelled;

  std::string bytes;
  size_t header_bytes = 0;
  bool too_large = false;
  bool private_address = false;
};

size_t TakeBody(char* data, size_t, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (count > transfer.max_bytes - transfer.bytes.size()) {
    transfer.too_large = true;
    return 0;
  }
  try {
    transfer.bytes.append(data, count);
  } catch (const std::bad_alloc&) {  // not through C code
    return 0;
  }
  return count;
}

size_t TakeHeader(char*, size_t, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.header_bytes += count;
  return transfer.header_bytes <= kMaxHeaderBytes ? count : 0;
}

int TakeProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& transfer = *static_cast<Transfer*>(user);
  return transfer.cancelled && transfer.cancelled() ? 1 : 0;
}

// Called with the very address that is connected to, so that no later answer
// of the resolver can be another.
curl_socket_t OpenSocket(void* user, curlsocktype, curl_sockaddr* address) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (!transfer.any_address && !IsPublicAddress(address->addr)) {
    transfer.private_address = true;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC,
                address->protocol);
}

struct CurlDeleter {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};

void InitializeOnce() {
  static const CURLcode done = curl_global_init(CURL_GLOBAL_DEFAULT);
  (void)done;
}

void SetUp(CURL* curl, const MediaUrl& url, absl::Duration left,
           Transfer* transfer) {
  const auto set = [curl](CURLoption option, auto value) {
    curl_easy_setopt(curl, option, value);
  };
  set(CURLOPT_URL, url.whole.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PROXY, "");
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_QUICK_EXIT, 1L);  // a resolver that hangs is left behind
  set(CURLOPT_USERAGENT, "lapidary");
  set(CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(left)));
  set(CURLOPT_MAXFILESIZE_LARGE, static_cast<curl_off_t>(transfer->max_bytes));
  set(CURLOPT_WRITEFUNCTION, &TakeBody);
  set(CURLOPT_WRITEDATA, transfer);
  set(CURLOPT_HEADERFUNCTION, &TakeHeader);
  set(CURLOPT_HEADERDATA, transfer);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, &TakeProgress);
  set(CURLOPT_XFERINFODATA, transfer);
  set(CURLOPT_OPENSOCKETFUNCTION, &OpenSocket);
  set(CURLOPT_OPENSOCKETDATA, transfer);
}

absl::Status Failure(CURLcode code, const Transfer& transfer,
                     const std::string& name) {
  if (transfer.cancelled && transfer.cancelled()) {
    return absl::CancelledError("the client no longer waits");
  }
  if (transfer.private_address) {
    return absl::PermissionDeniedError(absl::StrCat(
        name, ": its host has an address of a private network; the address ",
        "itself, in the URL and in --media-urls, is allowed"));
  }
  if (transfer.too_large || code == CURLE_FILESIZE_EXCEEDED) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, " is larger than the ", transfer.max_bytes, " bytes taken"));
  }
  return absl::UnavailableError(
      absl::StrCat(name, ": ", curl_easy_strerror(code)));
}

absl::Status FromHttpCode(long code, const std::string& name) {
  const std::string message =
      absl::StrCat(name, ": its server answered with status ", code);
  if (code == 404 || code == 410) return absl::NotFoundError(message);
  if (code == 401 || code == 403) return absl::PermissionDeniedError(message);
  if (code >= 400 && code < 500 && code != 408 && code != 429) {
    return absl::InvalidArgumentError(message);
  }
  return absl::UnavailableError(message);
}

bool IsPublicV4(uint32_t a) {
  const auto in = [a](uint32_t network, int bits) {
    return (a ^ network) >> (32 - bits) == 0;
  };
  // RFC 6890: this host, private, shared, loopback, link-local, protocol and
  // documentation networks, 6to4 relays, benchmarks, multicast and above.
  return !(in(0x00000000, 8) || in(0x0A000000, 8) || in(0x64400000, 10) ||
           in(0x7F000000, 8) || in(0xA9FE0000, 16) || in(0xAC100000, 12) ||
           in(0xC0000000, 24) || in(0xC0000200, 24) || in(0xC0586300, 24) ||
           in(0xC0A80000, 16) || in(0xC6120000, 15) || in(0xC6336400, 24) ||
           in(0xCB007100, 24) || in(0xE0000000, 3));
}

}  // namespace

bool IsPublicAddress(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof(v4));
    return IsPublicV4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 v6;
  std::memcpy(&v6, &address, sizeof(v6));
  const uint8_t* a = v6.sin6_addr.s6_addr;
  // Global unicast is 2000::/3; of it, not Teredo and its like (2001::/23),
  // documentation (2001:db8::/32) nor 6to4 (2002::/16), which wrap others. All
  // that maps IPv4 lies outside.
  if ((a[0] & 0xE0) != 0x20) return false;
  if (a[0] == 0x20 && a[1] == 0x02) return false;
  if (a[0] == 0x20 && a[1] == 0x01 && (a[2] & 0xFE) == 0) return false;
  return !(a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0D && a[3] == 0xB8);
}

absl::StatusOr<HttpResponse> HttpGet(const MediaUrl& url, size_t max_bytes,
                                     absl::Time until,
                                     const std::function<bool()>& cancelled) {
  InitializeOnce();
  const std::string name = Quoted(url.whole);
  const absl::Duration left = until - absl::Now();
  if (left < absl::Milliseconds(1)) {
    return absl::UnavailableError(absl::StrCat(name, ": Timeout was reached"));
  }
  const std::unique_ptr<CURL, CurlDeleter> curl(curl_easy_init());
  if (curl == nullptr) return absl::ResourceExhaustedError("no memory");
  Transfer transfer;
  transfer.max_bytes = max_bytes;
  transfer.any_address = url.is_address;
  transfer.cancelled = cancelled;
  SetUp(curl.get(), url, left, &transfer);
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) return Failure(code, transfer, name);
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  HttpResponse response;
  if (status >= 300 && status < 400) {
    const char* location = nullptr;
    curl_easy_getinfo(curl.get(), CURLINFO_REDIRECT_URL, &location);
    if (location == nullptr) return FromHttpCode(status, name);
    response.redirect = location;
    return response;
  }
  if (status != 200) return FromHttpCode(status, name);
  response.bytes = std::move(transfer.bytes);
  return response;
}

}  // namespace lapidary
