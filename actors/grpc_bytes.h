// Serialized messages and statuses, as gRPC takes and gives them.
#ifndef LAPIDARY_ACTORS_GRPC_BYTES_H_
#define LAPIDARY_ACTORS_GRPC_BYTES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "grpcpp/grpcpp.h"

namespace lapidary {

// Milliseconds of silence after which a node asks a peer whether it is there,
// and for which it waits for the answer.
inline constexpr int kPeerKeepaliveMs = 5000;

inline grpc::Status ToGrpcStatus(const absl::Status& status) {
  // The codes are the same numbers.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message()));
}

inline grpc::ByteBuffer ToByteBuffer(const std::string& bytes) {
  grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

inline std::string ToString(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  bytes.reserve(buffer.Length());
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_GRPC_BYTES_H_
