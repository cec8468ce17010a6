// lapidary run: one answer.
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "deploy/cli/command.h"
#include "deploy/cli/generate.h"
#include "deploy/cli/generate_flags.h"
#include "deploy/cli/json_output.h"
#include "deploy/cli/prompt_flags.h"
#include "deploy/cli/target.h"
#include "storage/file_io.h"
#include "storage/model_files.h"

namespace lapidary::cli {
namespace {

class RunCommand : public Command {
 public:
  CommandHelp Help() const override {
    return {
        "run",
        "answers one question, or continues a text",
        "MODEL|--server=HOST:PORT [QUESTION]",
        "MODEL is a packed folder (lapidary pack makes one) and is opened "
        "here, without a server. QUESTION becomes one user turn of Gemma's "
        "chat. The answer is printed as it is drawn; Ctrl-C cancels it.\n\n"
        "A model without a tokenizer takes --ids only and gives token ids, "
        "printed with commas.\n\n"
        "With --json one object is printed at the end: token_ids, text, "
        "stop_reason, usage, timings.",
        {"lapidary run nano \"Translate cat to Russian.\"",
         "lapidary run e2b --prompt=\"Once upon a time\" --max-tokens=32",
         "lapidary run nano --messages=chat.json --temperature=0 --json",
         "lapidary run --server=127.0.0.1:7421 \"Tell me about the "
         "owl.\""},
    };
  }

  void DefineFlags(FlagSet* flags) override {
    prompt_.Define(flags);
    generate_.Define(flags);
    flags->Section("Output");
    flags->Switch("json", "Print one JSON object instead of the text.", &json_);
    flags->OptionalInteger("logprobs",
                           "With --json: each token's log-probability and "
                           "those of the so many most probable tokens.",
                           0, 64, &logprobs_);
    flags->Switch("timings", "After the answer, its speed on stderr.",
                  &timings_);
    target_.Define(flags);
  }

  absl::Status Run(const std::vector<std::string>& arguments) override {
    std::string model;
    std::optional<std::string> question;
    absl::Status split =
        target_.SplitArguments(arguments, prompt_.given(), &model, &question);
    if (!split.ok()) return split;
    if (logprobs_ && !json_) return UsageError("--logprobs goes with --json");
    v1::GenerateRequest request;
    absl::StatusOr<v1::Prompt> prompt = prompt_.Build(question);
    if (!prompt.ok()) return prompt.status();
    *request.mutable_prompt() = *std::move(prompt);
    if (logprobs_) request.set_top_logprobs(*logprobs_);
    absl::Status applied = generate_.Apply(&request);
    if (!applied.ok()) return applied;
    auto connection = target_.Connect(model);
    if (!connection.ok()) return connection.status();

    bool printed = false;
    absl::StatusOr<Answer> answer = Generate(
        connection->get(), std::move(request), [&](absl::string_view text) {
          if (json_) return;
          std::cout << text << std::flush;
          printed = true;
        });
    if (!json_ && answer.ok() && !printed && !target_.remote() &&
        !FileExists(absl::StrCat(model, "/", kTokenizerModelFile))) {
      PrintIds(*answer);
    }
    if (!json_ && (printed || answer.ok())) std::cout << std::endl;
    if (!answer.ok()) return answer.status();
    if (json_) Print(*answer);
    if (timings_) std::cerr << Summary(answer->final) << "\n";
    return absl::OkStatus();
  }

 private:
  static void PrintIds(const Answer& answer) {
    const char* separator = "";
    for (const v1::Token& token : answer.tokens) {
      std::cout << separator << token.id();
      separator = ",";
    }
  }

  static void Print(const Answer& answer) {
    OutputJson ids = OutputJson::array();
    OutputJson tokens = OutputJson::array();
    bool with_logprobs = false;
    for (const v1::Token& token : answer.tokens) {
      ids.push_back(token.id());
      tokens.push_back(ToJson(token));
      with_logprobs |= token.has_logprob();
    }
    OutputJson json = {
        {"token_ids", ids},
        {"text", answer.text},
        {"stop_reason", NameOf(answer.final.stop_reason())},
        {"usage", ToJson(answer.final.usage())},
        {"timings", ToJson(answer.final.timings())},
        {"seed", answer.final.seed()},
    };
    if (!answer.final.stop_string().empty()) {
      json["stop_string"] = answer.final.stop_string();
    }
    if (with_logprobs) json["tokens"] = tokens;
    std::cout << ToLine(json) << "\n";
  }

  PromptFlags prompt_;
  GenerateFlags generate_;
  Target target_;
  bool json_ = false;
  bool timings_ = false;
  std::optional<int64_t> logprobs_;
};

}  // namespace

std::unique_ptr<Command> MakeRunCommand() {
  return std::make_unique<RunCommand>();
}

}  // namespace lapidary::cli
