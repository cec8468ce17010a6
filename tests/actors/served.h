// A node and a client of it over a socket, for the tests of conversations.
#ifndef LAPIDARY_TESTS_ACTORS_SERVED_H_
#define LAPIDARY_TESTS_ACTORS_SERVED_H_

#include <cstdint>
#include <memory>

#include "absl/strings/str_cat.h"
#include "tests/actors/nano_node.h"

namespace lapidary {

struct Served {
  std::unique_ptr<Node> node;
  std::unique_ptr<Stub> stub;

  // Over a socket: the transport's windows are a part of what is tested.
  explicit Served(NodeOptions options = NanoOptions()) {
    options.listen_address = "127.0.0.1:0";
    node = StartNode(options);
    stub = v1::Lapidary::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", node->port()),
                            grpc::InsecureChannelCredentials()));
  }
};

inline bool AllFreed(const Served& served) {
  return WaitFor(*served.stub, [](const v1::StatusResponse& status) {
    return status.audio().live() == 0 && status.queue().running() == 0;
  });
}

// Of one window: every 16 mel frames (gemma3n-audio.md §1.7).
inline int64_t SoftTokens(int64_t samples) {
  const int64_t padded = (samples + 127) / 128 * 128;
  const int64_t frames = 1 + (padded - 513) / 160;
  return (frames + 15) / 16;
}

}  // namespace lapidary

#endif  // LAPIDARY_TESTS_ACTORS_SERVED_H_
