#include "storage/media_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <memory>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/utf8.h"

namespace lapidary {
namespace {

constexpr size_t kMaxUrlBytes = 4096;

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using UrlHandle = std::unique_ptr<CURLU, UrlDeleter>;

std::string PartOf(CURLU* url, CURLUPart part, unsigned flags) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return "";
  std::string value = text;
  curl_free(text);
  return value;
}

// inet_aton's short and octal forms are addresses as well, to a resolver.
bool IsAddress(const std::string& host) {
  in_addr v4;
  return absl::StartsWith(host, "[") || inet_aton(host.c_str(), &v4) != 0;
}

bool HasEscapedStructure(absl::string_view path) {
  const std::string lower = absl::AsciiStrToLower(path);
  return absl::StrContains(lower, "%2e") || absl::StrContains(lower, "%2f") ||
         absl::StrContains(lower, "%5c") || absl::StrContains(lower, "\\");
}

}  // namespace

absl::StatusOr<MediaUrl> ParseMediaUrl(absl::string_view text) {
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat(Quoted(text), " ", why,
                     "; want a URL like https://example.org/cat.png"));
  };
  if (text.size() > kMaxUrlBytes) return refuse("is too long");
  for (const char c : text) {
    if (c <= ' ' || c > '~') return refuse("has a byte that URLs escape");
  }
  const UrlHandle url(curl_url());
  if (url == nullptr) return absl::ResourceExhaustedError("no memory");
  if (curl_url_set(url.get(), CURLUPART_URL, std::string(text).c_str(), 0) !=
      CURLUE_OK) {
    return refuse("is no URL");
  }
  MediaUrl parsed;
  parsed.scheme = PartOf(url.get(), CURLUPART_SCHEME, 0);
  if (parsed.scheme != "http" && parsed.scheme != "https") {
    return refuse("is not of http or https");
  }
  if (!PartOf(url.get(), CURLUPART_USER, 0).empty() ||
      !PartOf(url.get(), CURLUPART_PASSWORD, 0).empty()) {
    return refuse("has a user");
  }
  parsed.host = absl::AsciiStrToLower(PartOf(url.get(), CURLUPART_HOST, 0));
  // "example.org." is "example.org" to a resolver.
  parsed.host = std::string(absl::StripSuffix(parsed.host, "."));
  if (parsed.host.empty()) return refuse("has no host");
  parsed.is_address = IsAddress(parsed.host);
  parsed.port = PartOf(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  parsed.path = PartOf(url.get(), CURLUPART_PATH, 0);
  if (HasEscapedStructure(parsed.path)) {
    return refuse("has an escaped dot or slash");
  }
  parsed.whole = PartOf(url.get(), CURLUPART_URL, 0);
  return parsed;
}

bool BeginsWith(const MediaUrl& url, const MediaUrl& entry) {
  if (url.scheme != entry.scheme || url.host != entry.host ||
      url.port != entry.port || !absl::StartsWith(url.path, entry.path)) {
    return false;
  }
  return absl::EndsWith(entry.path, "/") || url.path == entry.path ||
         url.path[entry.path.size()] == '/';
}

}  // namespace lapidary
