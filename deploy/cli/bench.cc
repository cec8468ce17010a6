// lapidary bench: how fast a packed model is here, and how fast it could be.
#include <algorithm>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "deploy/cli/bench_limits.h"
#include "deploy/cli/bench_measures.h"
#include "deploy/cli/bench_report.h"
#include "deploy/cli/command.h"
#include "deploy/cli/connection.h"
#include "deploy/cli/node_flags.h"
#include "kernels/parallel.h"

namespace lapidary::cli {
namespace {

// "512,1024": positive, in any order; "" is an empty list.
absl::StatusOr<std::vector<int64_t>> ParseList(const std::string& flag,
                                               const std::string& text) {
  std::vector<int64_t> values;
  for (absl::string_view word : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    int64_t value = 0;
    if (!absl::SimpleAtoi(word, &value) || value < 1 || value > (1 << 20)) {
      return UsageError(absl::StrCat(
          "--", flag, "=", text, ": \"", word,
          "\" is not a number from 1 to 1048576; give them with commas"));
    }
    values.push_back(value);
  }
  return values;
}

class BenchCommand : public Command {
 public:
  CommandHelp Help() const override {
    return {
        "bench",
        "measures a packed model's speed and memory beside the machine's "
        "limits",
        "MODEL",
        "Starts a node in this process and sends it requests as a client "
        "would. ppN is the prefill of a prompt of N tokens, until its first "
        "token is drawn; tgN an answer of N tokens; tgN@D one behind D tokens; "
        "N streams are as many answers at once. Between the rounds it measures "
        "what the machine can do at best. The machine should be idle; a depth "
        "of 32768 takes minutes.",
        {"lapidary bench e2b --quick",
         "lapidary bench e2b --threads=2 --json > bench.json",
         "lapidary bench e2b --prompts= --depths= --streams=1,16"},
    };
  }

  void DefineFlags(FlagSet* flags) override {
    flags->Section("Measures (an empty list leaves one out)");
    flags->OptionalText("prompts", "N,…",
                        "Lengths of prompts. Default: 512,1024,2048.",
                        &prompts_);
    flags->OptionalInteger("tokens",
                           "Tokens of the answer; 0 leaves it out. Default: "
                           "128.",
                           0, 1 << 20, &tokens_);
    flags->OptionalText("depths", "N,…",
                        "Tokens before an answer. Default: 2048,8192,32768, "
                        "as far as the model's context goes.",
                        &depths_);
    flags->OptionalText("streams", "N,…",
                        "Requests at once. Default: 1,4,8,16.", &streams_);
    flags->Switch("whole-streams",
                  "Count the time of their prompts, too: what clients see who "
                  "all come at once.",
                  &plan_.whole_streams);
    flags->Integer("stream-prompt", "Tokens of each such request's prompt.", 1,
                   1 << 20, &plan_.stream_prompt);
    flags->Integer("stream-tokens", "Tokens of each such answer.", 1, 1 << 20,
                   &plan_.stream_tokens);
    flags->OptionalInteger("rounds",
                           "Rounds of each measure, of which the median is "
                           "shown. Default: 3.",
                           1, 1000, &rounds_);
    flags->Switch("quick",
                  "One round of a prompt of 512, an answer of 32 and 4 "
                  "streams, unless other flags say more.",
                  &quick_);
    flags->Section("Output");
    flags->Switch("json", "Print one JSON object instead of tables.", &json_);
    node_.DefineCompute(flags);
  }

  absl::Status Run(const std::vector<std::string>& arguments) override {
    if (arguments.size() != 1) {
      return UsageError("one argument is wanted: MODEL, a packed folder");
    }
    absl::StatusOr<NodeOptions> options = node_.Options(arguments[0]);
    if (!options.ok()) return options.status();
    const int threads =
        options->threads > 0 ? options->threads : kernels::UsableProcessors();
    auto machine = BenchMachine::Open(arguments[0], threads, options->kv_dtype,
                                      options->trim_prefill);
    if (!machine.ok()) return machine.status();
    absl::Status planned = MakePlan(machine->config().max_position_embeddings);
    if (!planned.ok()) return planned;
    for (int64_t streams : plan_.streams) {
      options->max_running =
          std::max(options->max_running, static_cast<int>(streams));
    }
    auto connection = Connection::InProcess(*std::move(options));
    if (!connection.ok()) return connection.status();
    auto rows = RunBench(connection->get(), plan_, *machine,
                         [](absl::string_view line) {
                           std::cerr << absl::StrCat("bench: ", line, "\n");
                         });
    if (!rows.ok()) return rows.status();
    if (json_) {
      std::cout << ToLine(BenchJson(arguments[0], *machine, *rows)) << "\n";
    } else {
      std::cout << arguments[0] << ", "
                << kernels::NameOf(machine->weight_dtype()) << " weights, "
                << threads << " threads\n\n"
                << BenchText(*rows);
    }
    return absl::OkStatus();
  }

 private:
  absl::Status MakePlan(int64_t context) {
    std::string depths;
    for (int64_t depth : {2048, 8192, 32768}) {
      if (!quick_ && depth <= context) absl::StrAppend(&depths, depth, ",");
    }
    plan_.tokens = tokens_.value_or(quick_ ? 32 : 128);
    plan_.rounds = rounds_.value_or(quick_ ? 1 : plan_.rounds);
    for (const auto& [flag, text, list] :
         {std::tuple("prompts",
                     prompts_.value_or(quick_ ? "512" : "512,1024,2048"),
                     &plan_.prompts),
          std::tuple("depths", depths_.value_or(depths), &plan_.depths),
          std::tuple("streams", streams_.value_or(quick_ ? "4" : "1,4,8,16"),
                     &plan_.streams)}) {
      auto values = ParseList(flag, text);
      if (!values.ok()) return values.status();
      *list = *std::move(values);
    }
    return absl::OkStatus();
  }

  NodeFlags node_;
  std::optional<std::string> prompts_, depths_, streams_;
  std::optional<int64_t> tokens_, rounds_;
  bool quick_ = false;
  bool json_ = false;
  BenchPlan plan_;
};

}  // namespace

std::unique_ptr<Command> MakeBenchCommand() {
  return std::make_unique<BenchCommand>();
}

}  // namespace lapidary::cli
