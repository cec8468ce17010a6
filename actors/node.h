// A node: all actors of one process, from the gRPC server down to the PLE
// store.
//
//   NodeOptions options;
//   options.model_folder = "/srv/nano";      // made by `lapidary pack`
//   options.listen_address = "127.0.0.1:7421";
//   auto node = Node::Start(options);
//   …
//   (*node)->Shutdown(absl::Seconds(5));
//
// Without a listen address nothing is reachable from outside; a client in the
// process uses InProcessChannel() with the same stub as over the network.
#ifndef LAPIDARY_ACTORS_NODE_H_
#define LAPIDARY_ACTORS_NODE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "actors/node_options.h"

namespace grpc {
class Channel;
}

namespace lapidary {

class Node {
 public:
  // Opens the model, starts the actors and the server; serves when it returns.
  //
  // Errors: those of PackedModel::Open and PleStore::Open; INVALID_ARGUMENT for
  // an option out of its range; RESOURCE_EXHAUSTED for a memory limit that is
  // too small; UNAVAILABLE for a port that is taken.
  static absl::StatusOr<std::unique_ptr<Node>> Start(
      const NodeOptions& options);
  // Shuts down without grace if Shutdown was not called.
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // The port that listen_address got; 0 without one.
  int port() const;

  // A channel to this node that uses no socket. Must not outlive the node.
  std::shared_ptr<grpc::Channel> InProcessChannel();

  // Refuses new calls, gives running ones until `grace` is over, then cancels
  // them; stops all actors. Idempotent.
  void Shutdown(absl::Duration grace);

  // Makes an actor die as if it had crashed: "ple_server" or "stage". Its
  // supervisor starts it again. For tests and chaos drills.
  absl::Status KillRole(absl::string_view role);

 private:
  struct Impl;
  explicit Node(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lapidary

#endif  // LAPIDARY_ACTORS_NODE_H_
