// Sends requests to a node all at once and notes when each token arrives.
#ifndef LAPIDARY_DEPLOY_CLI_BENCH_CLIENT_H_
#define LAPIDARY_DEPLOY_CLI_BENCH_CLIENT_H_

#include <chrono>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/cli/connection.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary::cli {

using BenchTime = std::chrono::steady_clock::time_point;

double SecondsBetween(BenchTime from, BenchTime to);

struct TimedAnswer {
  BenchTime sent;
  std::vector<BenchTime> tokens;  // when each arrived
  v1::Timings timings;            // the node's own
};

// One thread for each request. `on_tokens`, if given, is called in the first
// request's thread with the tokens that it has so far.
//
// Errors: the first request's that failed; CANCELLED after Ctrl-C.
absl::StatusOr<std::vector<TimedAnswer>> SendTogether(
    Connection* connection, const std::vector<v1::GenerateRequest>& requests,
    const std::function<void(size_t tokens)>& on_tokens);

// Errors: those of the Status call.
absl::StatusOr<v1::StatusResponse> AskStatus(Connection* connection);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_BENCH_CLIENT_H_
