// The flags that shape a node, shared by lapidaryd and by the commands that
// start a node inside themselves.
#ifndef LAPIDARY_DEPLOY_CLI_NODE_FLAGS_H_
#define LAPIDARY_DEPLOY_CLI_NODE_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "actors/node.h"
#include "deploy/cli/flags.h"

namespace lapidary::cli {

// Values of the flags, until they become NodeOptions.
class NodeFlags {
 public:
  // Threads, memory, precision of the cache: what changes one answer's cost.
  // `section` heads them in the help. The flag of the audio tower is
  // --audio-tower where --audio is a sound of the prompt.
  void DefineCompute(FlagSet* flags, absl::string_view section = "Machine",
                     absl::string_view audio_flag = "audio-tower");
  // Batch, queue and limits: what matters with many clients.
  void DefineServing(FlagSet* flags);

  // The options for serving the packed model in `model_folder`.
  //
  // Errors: of usage; those of CheckPackedFolder.
  absl::StatusOr<NodeOptions> Options(const std::string& model_folder) const;

 private:
  // Sets what DefineServing's flags say.
  absl::Status ApplyServing(NodeOptions* options) const;

  NodeOptions options_;
  int64_t threads_ = options_.threads;
  int64_t max_batch_rows_ = options_.max_batch_rows;
  std::optional<int64_t> max_running_;
  std::optional<float> max_slowdown_;
  int64_t max_queued_ = options_.max_queued;
  int64_t default_max_tokens_ = options_.default_max_tokens;
  std::string kv_dtype_ = "f32";
  std::string memory_limit_;
  std::optional<std::string> prefix_cache_, max_message_, vision_peers_,
      audio_peers_, media_urls_;
  std::string vision_ = "lazy", audio_ = "lazy";
};

// NOT_FOUND, naming `folder` and then `remedy`, if nothing is there.
absl::Status CheckFolder(const std::string& folder, absl::string_view remedy);

// OK if `folder` looks like a packed model. NOT_FOUND if it is not there,
// FAILED_PRECONDITION for a Hugging Face folder; both say how to pack one.
absl::Status CheckPackedFolder(const std::string& folder);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_NODE_FLAGS_H_
