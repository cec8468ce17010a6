// Whether a server can listen where it is told to.
#ifndef LAPIDARY_ACTORS_LISTEN_ADDRESS_H_
#define LAPIDARY_ACTORS_LISTEN_ADDRESS_H_

#include <string>

#include "absl/status/status.h"

namespace lapidary {

// Tries what gRPC is going to do, because gRPC does not say why it fails.
//
// Errors: INVALID_ARGUMENT for anything but HOST:PORT; UNAVAILABLE for a host
// that is not found and a port that is taken.
absl::Status CheckCanListen(const std::string& address);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_LISTEN_ADDRESS_H_
