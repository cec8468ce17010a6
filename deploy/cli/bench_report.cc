#include "deploy/cli/bench_report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "deploy/cli/progress.h"

namespace lapidary::cli {
namespace {

constexpr double kGiga = 1e9;

const char* NameOf(BenchKind kind) {
  switch (kind) {
    case BenchKind::kPrompt:
      return "prompt";
    case BenchKind::kAnswer:
      return "answer";
    case BenchKind::kStreams:
      return "streams";
  }
  return "";
}

double ShareReached(const BenchRow& row) {
  return row.limit.tokens_per_second > 0
             ? row.tokens_per_second / row.limit.tokens_per_second
             : 0;
}

double StepMs(const BenchRow& row) {
  if (row.steps.steps() == 0) return 0;
  return (row.steps.wait_ms() + row.steps.round_trip_ms()) /
         static_cast<double>(row.steps.steps());
}

// What the process holds beside the groups that the node counts.
uint64_t OtherBytes(const v1::Memory& memory) {
  const uint64_t counted = memory.weights_resident() + memory.kv_in_use() +
                           memory.ple_block_cache() + memory.scratch();
  return memory.process_resident() -
         std::min(counted, memory.process_resident());
}

std::string ThroughputText(const std::vector<BenchRow>& rows) {
  std::string text = absl::StrFormat(
      "%-14s %9s %9s %7s  %-10s %9s %9s\n", "measure", "tokens/s", "at best",
      "reached", "limited by", "GB/s read", "GOP/s");
  for (const BenchRow& row : rows) {
    absl::StrAppendFormat(&text,
                          "%-14s %9.2f %9.1f %5.0f %%  %-10s %9.1f %9.0f\n",
                          row.name, row.tokens_per_second,
                          row.limit.tokens_per_second, 100 * ShareReached(row),
                          row.limit.by, row.limit.bytes_per_second / kGiga,
                          row.limit.operations_per_second / kGiga);
    if (row.kind == BenchKind::kStreams) {
      absl::StrAppendFormat(&text, "%-14s %9.2f  with the prompts\n", "",
                            row.whole_tokens_per_second);
    }
  }
  if (!rows.empty()) {
    absl::StrAppend(&text,
                    "at best: all weights and the keys and values in sight "
                    "read once a step at the rate\nof a plain read of the "
                    "weights, or every dense product at the rate of the ",
                    rows.front().limit.instruction,
                    ",\nwhichever is slower; both rates measured in this run, "
                    "the better of before and after\neach round\n");
  }
  return text;
}

std::string StepsText(const std::vector<BenchRow>& rows) {
  std::string text = absl::StrFormat(
      "%-14s %8s %6s %8s %7s %9s %6s %8s %6s %8s\n", "a step of", "ms", "rows",
      "PLE wait", "GEMM", "attention", "head", "sampling", "other", "messages");
  for (const BenchRow& row : rows) {
    if (row.steps.steps() == 0) continue;
    const StepShares shares = SharesOf(row.steps);
    absl::StrAppendFormat(
        &text,
        "%-14s %8.2f %6.1f %6.2f %% %5.1f %% %7.1f %% %4.1f %% %6.1f %% "
        "%4.1f %% %6.2f %%\n",
        row.name, StepMs(row),
        static_cast<double>(row.steps.rows()) /
            static_cast<double>(row.steps.steps()),
        100 * shares.ple_wait, 100 * shares.gemm, 100 * shares.attention,
        100 * shares.head, 100 * shares.sampling, 100 * shares.other,
        100 * shares.messages);
  }
  return text;
}

std::string MemoryText(const std::vector<BenchRow>& rows) {
  std::string text = absl::StrFormat("%-14s %10s %10s %10s %10s %10s %10s\n",
                                     "resident", "process", "weights", "KV",
                                     "PLE cache", "scratch", "rest");
  for (const BenchRow& row : rows) {
    const v1::Memory& memory = row.memory;
    absl::StrAppendFormat(
        &text, "%-14s %10s %10s %10s %10s %10s %10s\n", row.name,
        HumanBytes(memory.process_resident()),
        HumanBytes(memory.weights_resident()), HumanBytes(memory.kv_in_use()),
        HumanBytes(memory.ple_block_cache()), HumanBytes(memory.scratch()),
        HumanBytes(OtherBytes(memory)));
  }
  return text;
}

OutputJson ToJson(const StepShares& shares) {
  return {{"ple_wait", shares.ple_wait},   {"gemm", shares.gemm},
          {"attention", shares.attention}, {"head", shares.head},
          {"sampling", shares.sampling},   {"other", shares.other},
          {"messages", shares.messages}};
}

OutputJson ToJson(const BenchRow& row) {
  OutputJson json = {
      {"name", row.name},
      {"kind", NameOf(row.kind)},
      {"prompt_tokens", row.prompt},
      {"answer_tokens", row.tokens},
      {"streams", row.streams},
      {"tokens_per_second", row.tokens_per_second},
      {"rounds", row.rounds},
      {"limit",
       {{"tokens_per_second", row.limit.tokens_per_second},
        {"by", row.limit.by},
        {"bytes_per_second", row.limit.bytes_per_second},
        {"operations_per_second", row.limit.operations_per_second},
        {"instruction", row.limit.instruction}}},
      {"share_reached", ShareReached(row)},
      {"step_ms", StepMs(row)},
      {"step_shares", ToJson(SharesOf(row.steps))},
      {"steps", cli::ToJson(row.steps)},
      {"memory", cli::ToJson(row.memory)},
  };
  if (row.kind == BenchKind::kStreams) {
    json["whole_tokens_per_second"] = row.whole_tokens_per_second;
  }
  return json;
}

}  // namespace

StepShares SharesOf(const v1::StepTimes& steps) {
  const double all = steps.wait_ms() + steps.round_trip_ms();
  if (all <= 0) return {};
  StepShares shares;
  shares.ple_wait = steps.wait_ms() / all;
  shares.gemm = steps.gemm_ms() / all;
  shares.attention = steps.attention_ms() / all;
  shares.head = steps.head_ms() / all;
  shares.sampling = steps.sampling_ms() / all;
  shares.messages = (steps.round_trip_ms() - steps.compute_ms()) / all;
  shares.other = (steps.compute_ms() - steps.gemm_ms() - steps.attention_ms() -
                  steps.head_ms() - steps.sampling_ms()) /
                 all;
  return shares;
}

std::string BenchText(const std::vector<BenchRow>& rows) {
  return absl::StrCat(ThroughputText(rows), "\n", StepsText(rows), "\n",
                      MemoryText(rows));
}

OutputJson BenchJson(const std::string& model, const BenchMachine& machine,
                     const std::vector<BenchRow>& rows) {
  OutputJson list = OutputJson::array();
  for (const BenchRow& row : rows) list.push_back(ToJson(row));
  return {{"model", model},
          {"weight_dtype", kernels::NameOf(machine.weight_dtype())},
          {"threads", machine.threads()},
          {"rows", list}};
}

}  // namespace lapidary::cli
