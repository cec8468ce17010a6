// One Generate call: sends, follows the stream, cancels on Ctrl-C.
#ifndef LAPIDARY_DEPLOY_CLI_GENERATE_H_
#define LAPIDARY_DEPLOY_CLI_GENERATE_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "deploy/cli/connection.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary::cli {

struct Answer {
  std::string text;
  std::vector<v1::Token> tokens;
  v1::Final final;
};

// `on_text` gets each piece of the answer as it arrives.
//
// Errors: the server's; CANCELLED after Ctrl-C.
absl::StatusOr<Answer> Generate(
    Connection* connection, v1::GenerateRequest request,
    const std::function<void(absl::string_view text)>& on_text);

// "5 tokens at 812 tokens/s, the first after 4 ms; prompt of 15 tokens"
std::string Summary(const v1::Final& final);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_GENERATE_H_
