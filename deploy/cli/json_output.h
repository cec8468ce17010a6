// The server's messages as the JSON that scripts read (--json).
#ifndef LAPIDARY_DEPLOY_CLI_JSON_OUTPUT_H_
#define LAPIDARY_DEPLOY_CLI_JSON_OUTPUT_H_

#include <string>

#include "nlohmann/json.hpp"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary::cli {

// Keeps keys in the order in which they are set.
using OutputJson = nlohmann::ordered_json;

// {"id":105,"logprob":-3.2,"top":[{"id":105,"logprob":-3.2},…]}; without
// logprob where there is none, without top where none was asked for.
OutputJson ToJson(const v1::Token& token);
OutputJson ToJson(const v1::Usage& usage);
OutputJson ToJson(const v1::Timings& timings);
OutputJson ToJson(const v1::Model& model);
OutputJson ToJson(const v1::StepTimes& times);
OutputJson ToJson(const v1::Memory& memory);
OutputJson ToJson(const v1::StatusResponse& status);
// "eos", "stop_string", "max_tokens", "deadline"
std::string NameOf(v1::StopReason reason);

// One line; what is not UTF-8 becomes U+FFFD, what is no number becomes null.
std::string ToLine(const OutputJson& json);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_JSON_OUTPUT_H_
