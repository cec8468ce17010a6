// What `lapidary bench` measures: requests to a node of this process, as a
// client would send them, and what the node says of its steps meanwhile.
//
// Prompts are random ids, none twice, so that no prefix cache helps; answers
// are drawn at temperature 1, so that their tokens differ as an answer's do and
// the rows of the PLE table come from disk.
#ifndef LAPIDARY_DEPLOY_CLI_BENCH_MEASURES_H_
#define LAPIDARY_DEPLOY_CLI_BENCH_MEASURES_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "deploy/cli/bench_limits.h"
#include "deploy/cli/connection.h"
#include "proto/lapidary/v1/lapidary.pb.h"

namespace lapidary::cli {

struct BenchPlan {
  std::vector<int64_t> prompts;  // lengths; each measured alone
  int64_t tokens = 128;          // of an answer; 0: no answer alone
  std::vector<int64_t> depths;   // tokens before an answer
  int64_t depth_tokens = 32;     // of such an answer
  std::vector<int64_t> streams;  // requests at once
  int64_t stream_prompt = 32;
  bool whole_streams = false;  // the prompts' time counts as well
  int64_t stream_tokens = 64;
  int64_t rounds = 3;  // of each measure; an answer at a depth has one
};

enum class BenchKind { kPrompt, kAnswer, kStreams };

// One measure.
struct BenchRow {
  std::string name;  // "pp512", "tg128", "tg32@8192", "16 streams"
  BenchKind kind = BenchKind::kPrompt;
  int64_t prompt = 0;  // tokens of each request
  int64_t tokens = 0;  // of each answer
  int64_t streams = 1;

  // Tokens per second of each round, and their median: the prompt's until its
  // first token is there; the answer's from its first token to its last; all
  // answers' while all of them are being drawn.
  std::vector<double> rounds;
  double tokens_per_second = 0;
  // Streams: all answers' tokens, from the first request to the last token.
  double whole_tokens_per_second = 0;

  BenchLimit limit;  // measured before and after the rounds

  // Steps of the row's kind, and the memory near the last round's end.
  v1::StepTimes steps;
  v1::Memory memory;
};

// `progress` gets a line now and then.
//
// Errors: the node's; CANCELLED after Ctrl-C; OUT_OF_RANGE for what does not
// fit the model's context.
absl::StatusOr<std::vector<BenchRow>> RunBench(
    Connection* connection, const BenchPlan& plan, const BenchMachine& machine,
    const std::function<void(absl::string_view line)>& progress);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_BENCH_MEASURES_H_
