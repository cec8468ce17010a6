// Flags of sampling and of where an answer ends.
#ifndef LAPIDARY_DEPLOY_CLI_GENERATE_FLAGS_H_
#define LAPIDARY_DEPLOY_CLI_GENERATE_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "deploy/cli/flags.h"
#include "deploy/cli/priority_flag.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary::cli {

class GenerateFlags {
 public:
  void Define(FlagSet* flags);
  // Sets what the flags say and leaves the rest to the server's defaults. The
  // server checks the values.
  absl::Status Apply(v1::GenerateRequest* request) const;

 private:
  std::optional<int64_t> max_tokens_, top_k_;
  std::optional<float> temperature_, top_p_, min_p_, repetition_penalty_;
  std::optional<uint64_t> seed_;
  std::vector<std::string> stop_, logit_bias_;
  PriorityFlag priority_;
  bool ignore_eos_ = false;
  bool no_prefix_cache_ = false;
  absl::Duration time_limit_;
};

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_GENERATE_FLAGS_H_
