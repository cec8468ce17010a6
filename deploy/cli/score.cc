// lapidary score: how probable a model finds every token of a text.
#include <cmath>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "deploy/cli/command.h"
#include "deploy/cli/interrupt.h"
#include "deploy/cli/json_output.h"
#include "deploy/cli/priority_flag.h"
#include "deploy/cli/prompt_flags.h"
#include "deploy/cli/target.h"
#include "grpcpp/client_context.h"

namespace lapidary::cli {
namespace {

struct Scores {
  std::vector<v1::Token> tokens;
  v1::ScoreSummary summary;
};

absl::StatusOr<Scores> Score(Connection* connection, v1::ScoreRequest request) {
  request.set_model(connection->model());
  grpc::ClientContext context;
  CancelOnInterrupt cancel([&context] { context.TryCancel(); });
  auto stream = connection->stub().Score(&context, request);
  Scores scores;
  v1::ScoreResponse response;
  while (stream->Read(&response)) {
    for (v1::Token& token : *response.mutable_tokens()) {
      scores.tokens.push_back(std::move(token));
    }
    if (response.has_summary()) {
      scores.summary = std::move(*response.mutable_summary());
    }
  }
  const absl::Status status = FromGrpc(stream->Finish());
  if (cancel.interrupted()) return absl::CancelledError("cancelled");
  if (!status.ok()) return status;
  return scores;
}

class ScoreCommand : public Command {
 public:
  CommandHelp Help() const override {
    return {
        "score",
        "log-probabilities of every token of a text",
        "MODEL|--server=HOST:PORT [TEXT]",
        "Prints the natural logarithm of each token's probability, given all "
        "tokens before it; the first token has none. TEXT is one user turn of "
        "Gemma's chat, as in lapidary run. With --json: {\"tokens\":[{\"id\":"
        "2},{\"id\":105,\"logprob\":-3.2,\"top\":[…]},…]}.",
        {"lapidary score nano --ids=2,105,2364,107 --top=5 --json",
         "lapidary score nano --prompt-file=book.txt",
         "lapidary score nano --messages=chat.json --continuation=\"кошка\""},
    };
  }

  void DefineFlags(FlagSet* flags) override {
    prompt_.Define(flags);
    flags->OptionalText("continuation", "TEXT",
                        "Follows the prompt and is scored as well; a "
                        "conversation is then opened for the model's turn.",
                        &continuation_);
    priority_.Define(flags);
    flags->Section("Output");
    flags->Integer("top",
                   "So many most probable tokens of each position, 0 to 64.", 0,
                   64, &top_);
    flags->Switch("json", "Print one JSON object instead of a table.", &json_);
    target_.Define(flags);
  }

  absl::Status Run(const std::vector<std::string>& arguments) override {
    std::string model;
    std::optional<std::string> text;
    absl::Status split =
        target_.SplitArguments(arguments, prompt_.given(), &model, &text);
    if (!split.ok()) return split;
    v1::ScoreRequest request;
    absl::StatusOr<v1::Prompt> prompt = prompt_.Build(text);
    if (!prompt.ok()) return prompt.status();
    *request.mutable_prompt() = *std::move(prompt);
    request.set_top_logprobs(static_cast<int32_t>(top_));
    request.set_priority(priority_.value());
    if (continuation_) {
      request.set_continuation_text(*continuation_);
      if (request.prompt().has_chat()) {
        request.mutable_prompt()->mutable_chat()->set_add_generation_prompt(
            true);
      }
    }
    auto connection = target_.Connect(model);
    if (!connection.ok()) return connection.status();
    absl::StatusOr<Scores> scores =
        Score(connection->get(), std::move(request));
    if (!scores.ok()) return scores.status();
    if (json_) {
      PrintJson(*scores);
    } else {
      PrintTable(*scores);
    }
    return absl::OkStatus();
  }

 private:
  void PrintJson(const Scores& scores) const {
    OutputJson tokens = OutputJson::array();
    for (const v1::Token& token : scores.tokens) {
      tokens.push_back(ToJson(token));
    }
    OutputJson json = {
        {"tokens", tokens},
        {"prompt_logprob", scores.summary.prompt_logprob()},
        {"usage", ToJson(scores.summary.usage())},
        {"timings", ToJson(scores.summary.timings())},
    };
    if (continuation_) {
      json["continuation_logprob"] = scores.summary.continuation_logprob();
    }
    std::cout << ToLine(json) << "\n";
  }

  static void PrintTable(const Scores& scores) {
    double sum = 0;
    int scored = 0;
    std::cout << "    id   logprob\n";
    for (const v1::Token& token : scores.tokens) {
      std::cout << absl::StrFormat("%6d", token.id());
      if (token.has_logprob()) {
        std::cout << absl::StrFormat("%10.4f", token.logprob());
        sum += token.logprob();
        ++scored;
      }
      for (const v1::TokenLogprob& candidate : token.top()) {
        std::cout << absl::StrFormat("  %d:%.4f", candidate.id(),
                                     candidate.logprob());
      }
      std::cout << "\n";
    }
    if (scored == 0) return;
    std::cout << absl::StrFormat("sum %.4f, perplexity %.4f\n", sum,
                                 std::exp(-sum / scored));
  }

  PromptFlags prompt_;
  PriorityFlag priority_;
  Target target_;
  std::optional<std::string> continuation_;
  int64_t top_ = 0;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeScoreCommand() {
  return std::make_unique<ScoreCommand>();
}

}  // namespace lapidary::cli
