#include "actors/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lapidary {

absl::Status CheckCanListen(const std::string& address) {
  const auto refuse = [&](absl::string_view why) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, ": ", why,
                     "; choose another address or stop what holds it"));
  };
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 ||
      port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot listen on ", address,
        ": want HOST:PORT with a port from 0 (any that is free) to 65535"));
  }
  std::string host = address.substr(0, colon);
  if (host.size() > 1 && host.front() == '[') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(),
                                &hints, &found);
  if (error != 0) return refuse(gai_strerror(error));
  // Any of the host's addresses will do, as for gRPC.
  int failure = 0;
  bool bound = false;
  for (const addrinfo* at = found; at != nullptr && !bound; at = at->ai_next) {
    const int fd = socket(at->ai_family, SOCK_STREAM, 0);
    if (fd < 0) {
      failure = errno;
      continue;
    }
    // As gRPC does: connections of an earlier server may linger.
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    bound = bind(fd, at->ai_addr, at->ai_addrlen) == 0;
    if (!bound) failure = errno;
    close(fd);
  }
  freeaddrinfo(found);
  return bound ? absl::OkStatus() : refuse(std::strerror(failure));
}

}  // namespace lapidary
