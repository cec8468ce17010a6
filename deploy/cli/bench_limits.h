// What the machine could do at best for a packed model: bytes from memory,
// operations of its processors, whichever ends sooner.
#ifndef LAPIDARY_DEPLOY_CLI_BENCH_LIMITS_H_
#define LAPIDARY_DEPLOY_CLI_BENCH_LIMITS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/tensor.h"
#include "kernels/text/config.h"

namespace lapidary::cli {

// What a measure's limit depends on besides the machine's rates.
struct BenchWork {
  double bytes = 0;       // read from memory for one step
  double operations = 0;  // for one step
  double tokens = 0;      // that the step gives
};

struct BenchLimit {
  double bytes_per_second = 0;  // medians of the rounds
  double operations_per_second = 0;
  std::string instruction;
  double tokens_per_second = 0;  // at best
  std::string by;                // "memory" or "arithmetic"; "" before
};

// The model and the machine that a bench runs on.
class BenchMachine {
 public:
  // Errors: those of PackedModel::Open.
  static absl::StatusOr<BenchMachine> Open(const std::string& folder,
                                           int threads, kernels::DType kv_dtype,
                                           bool trim_prefill);

  int threads() const { return threads_; }
  const kernels::text::TextConfig& config() const { return config_; }
  kernels::DType weight_dtype() const { return weight_dtype_; }

  BenchWork PromptWork(int64_t tokens) const;
  // `rows` answers' next tokens at `position`, in one step.
  BenchWork TokenWork(int64_t rows, int64_t position,
                      uint64_t weight_bytes) const;

  // One reading of both rates, on all threads: a plain read of the mapped
  // weights of the head, and arithmetic that suits the weights.
  struct Rates {
    double bytes_per_second = 0;
    double operations_per_second = 0;
    std::string instruction;
  };
  absl::StatusOr<Rates> Measure() const;

 private:
  std::string folder_;
  int threads_ = 1;
  kernels::DType weight_dtype_ = kernels::DType::kF32;
  kernels::DType kv_dtype_ = kernels::DType::kF32;
  bool trim_prefill_ = true;
  kernels::text::TextConfig config_;
};

double Median(std::vector<double> values);

// Of each round the better rates of the readings before and after it: memory
// of a shared machine may change its speed between two readings, and a round
// must not come out above its limit for that.
//   readings  one more than there are rounds
std::vector<BenchMachine::Rates> BestAroundRounds(
    const std::vector<BenchMachine::Rates>& readings);

// The limit of `work` at the median of `rates`.
BenchLimit LimitOf(const BenchWork& work,
                   const std::vector<BenchMachine::Rates>& rates);

}  // namespace lapidary::cli

#endif  // LAPIDARY_DEPLOY_CLI_BENCH_LIMITS_H_
