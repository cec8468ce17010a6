#include "deploy/cli/bench_limits.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "kernels/gemm/weight_layout.h"
#include "kernels/machine/peaks.h"
#include "kernels/text/cost.h"
#include "storage/packed_model.h"

namespace lapidary::cli {

using kernels::text::KvBytesRead;
using kernels::text::PromptOperations;
using kernels::text::TokenOperations;

absl::StatusOr<BenchMachine> BenchMachine::Open(const std::string& folder,
                                                int threads,
                                                kernels::DType kv_dtype,
                                                bool trim_prefill) {
  auto model = PackedModel::Open(folder, PackedModelOptions());
  if (!model.ok()) return model.status();
  BenchMachine machine;
  machine.folder_ = folder;
  machine.threads_ = threads;
  machine.weight_dtype_ = (*model)->dtype();
  machine.kv_dtype_ = kv_dtype;
  machine.trim_prefill_ = trim_prefill;
  machine.config_ = (*model)->config().text;
  return machine;
}

BenchWork BenchMachine::PromptWork(int64_t tokens) const {
  // Its bytes are read once for hundreds of rows: they never matter.
  return {0, PromptOperations(config_, tokens, trim_prefill_),
          static_cast<double>(tokens)};
}

BenchWork BenchMachine::TokenWork(int64_t rows, int64_t position,
                                  uint64_t weight_bytes) const {
  BenchWork work;
  work.tokens = static_cast<double>(rows);
  work.bytes = static_cast<double>(weight_bytes) +
               work.tokens * KvBytesRead(config_, position, kv_dtype_);
  work.operations = work.tokens * TokenOperations(config_, position);
  return work;
}

// Maps the weights anew each time: pages that this mapping brings in would
// count as the process's memory for as long as it lasts.
absl::StatusOr<BenchMachine::Rates> BenchMachine::Measure() const {
  auto model = PackedModel::Open(folder_, PackedModelOptions());
  if (!model.ok()) return model.status();
  auto head = (*model)->Lookup()("embed_tokens.weight");
  if (!head.ok()) return head.status();
  const size_t bytes =
      kernels::WeightMatrixBytes(head->dtype, head->shape[0], head->shape[1])
          .value_or(0);
  Rates rates;
  rates.bytes_per_second = kernels::MeasureReadRate(
      static_cast<const std::byte*>(head->data), bytes, threads_);
  const kernels::ArithmeticPeak peak =
      kernels::MeasureArithmeticPeak(weight_dtype_, threads_);
  rates.operations_per_second = peak.per_second;
  rates.instruction = peak.instruction;
  return rates;
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + middle, values.end());
  if (values.size() % 2 == 1) return values[middle];
  const double below =
      *std::max_element(values.begin(), values.begin() + middle);
  return (below + values[middle]) / 2;
}

std::vector<BenchMachine::Rates> BestAroundRounds(
    const std::vector<BenchMachine::Rates>& readings) {
  std::vector<BenchMachine::Rates> best;
  for (size_t round = 0; round + 1 < readings.size(); ++round) {
    const BenchMachine::Rates& after = readings[round + 1];
    BenchMachine::Rates rates = readings[round];
    rates.bytes_per_second =
        std::max(rates.bytes_per_second, after.bytes_per_second);
    rates.operations_per_second =
        std::max(rates.operations_per_second, after.operations_per_second);
    best.push_back(std::move(rates));
  }
  return best;
}

BenchLimit LimitOf(const BenchWork& work,
                   const std::vector<BenchMachine::Rates>& rates) {
  std::vector<double> bytes, operations;
  for (const BenchMachine::Rates& one : rates) {
    bytes.push_back(one.bytes_per_second);
    operations.push_back(one.operations_per_second);
  }
  BenchLimit limit;
  limit.bytes_per_second = Median(bytes);
  limit.operations_per_second = Median(operations);
  if (!rates.empty()) limit.instruction = rates.front().instruction;
  const double reading = work.bytes / limit.bytes_per_second;
  const double computing = work.operations / limit.operations_per_second;
  limit.by = reading > computing ? "memory" : "arithmetic";
  limit.tokens_per_second = work.tokens / std::max(reading, computing);
  return limit;
}

}  // namespace lapidary::cli
