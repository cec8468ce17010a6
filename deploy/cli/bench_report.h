// The figures of `lapidary bench` for people and for scripts.
#ifndef LAPIDARY_DEPLOY_CLI_BENCH_REPORT_H_
#define LAPIDARY_DEPLOY_CLI_BENCH_REPORT_H_

#include <string>
#include <vector>

#include "deploy/cli/bench_limits.h"
#include "deploy/cli/bench_measures.h"
#include "deploy/cli/json_output.h"

namespace lapidary::cli {

// Where the wall-clock time of a row's steps went, as shares that add up to 1.
struct StepShares {
  double ple_wait = 0;  // before the steps, mostly for rows of the PLE table
  double gemm = 0;
  double attention = 0;
  double head = 0;
  double sampling = 0;
  double other = 0;     // norms, RoPE, AltUp, …
  double messages = 0;  // between the sequencer and the stage
};

StepShares SharesOf(const v1::StepTimes& steps);

// Tables: throughput beside its limit, where a step's time goes, memory.
std::string BenchText(const std::vector<BenchRow>& rows);

// {"model":…,"weight_dtype":…,"threads":…,"rows":[{"name":"tg128",…},…]}
OutputJson BenchJson(const std::string& model, const BenchMachine& machine,
                     const std::vector<BenchRow>& rows);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_BENCH_REPORT_H_
