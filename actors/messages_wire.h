// The form that actor messages take between nodes: a Protobuf header
// (proto/lapidary/internal/wire.proto) and, after it, the bytes of the tensors,
// raw.
//
//   frame = header size, 4 bytes little-endian
//         | header
//         | bytes of each tensor, in the header's order
//
//   WireFrame frame = ToWire(step);       // refers to the tensors' bytes
//   …send frame.header, then each tensor's bytes…
//   absl::StatusOr<WireMessage> message = FromWire(bytes, {});
//
// What arrives is hostile until it is read: FromWire checks every size against
// what is there before it makes memory of it, and copies tensor bytes once,
// into aligned buffers. What the values mean is checked by who uses them.
#ifndef LAPIDARY_ACTORS_MESSAGES_WIRE_H_
#define LAPIDARY_ACTORS_MESSAGES_WIRE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "actors/messages_proto.h"

namespace lapidary {

struct WireFrame {
  std::string header;  // with its size in front
  std::vector<kernels::Tensor> tensors;
};

WireFrame ToWire(const WireMessage& message);

// The frame in one piece.
std::string Flatten(const WireFrame& frame);

struct WireLimits {
  size_t max_frame_bytes = size_t{1} << 30;
};

// Errors: INVALID_ARGUMENT for anything but exactly one whole frame;
// OUT_OF_RANGE for one larger than the limit; UNIMPLEMENTED for another
// version; RESOURCE_EXHAUSTED if memory for a tensor cannot be had.
absl::StatusOr<WireMessage> FromWire(absl::string_view frame,
                                     const WireLimits& limits);

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_MESSAGES_WIRE_H_
