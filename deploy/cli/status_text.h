// What a node says about itself, for people: model, roles, memory by group,
// queue, PLE cache.
#ifndef LAPIDARY_DEPLOY_CLI_STATUS_TEXT_H_
#define LAPIDARY_DEPLOY_CLI_STATUS_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "proto/lapidary/v1/lapidary.grpc.pb.h"

namespace lapidary::cli {

struct NodeReport {
  v1::ListModelsResponse models;
  v1::StatusResponse status;
};

// Asks for both.
absl::StatusOr<NodeReport> AskForReport(v1::Lapidary::Stub* stub);

// Lines, each ended.
std::string ModelsText(const v1::ListModelsResponse& models);
std::string RolesText(const v1::StatusResponse& status);
std::string MemoryText(const v1::StatusResponse& status);
std::string WorkText(const v1::StatusResponse& status);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_STATUS_TEXT_H_
