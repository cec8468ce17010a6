// lapidary chat: a conversation on the terminal.
#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "deploy/cli/command.h"
#include "deploy/cli/generate.h"
#include "deploy/cli/generate_flags.h"
#include "deploy/cli/prompt_flags.h"
#include "deploy/cli/target.h"

namespace lapidary::cli {
namespace {

constexpr char kInChat[] =
    "/reset forgets the conversation, /help lists this, /exit or ^D ends; ^C "
    "cancels an answer";

class ChatCommand : public Command {
 public:
  CommandHelp Help() const override {
    return {
        "chat",
        "talks with a model, turn after turn",
        "MODEL|--server=HOST:PORT",
        "Reads a line, streams the answer, and remembers both. In the chat, "
        "/reset forgets the conversation and /exit or ^D ends it; ^C cancels "
        "an answer, and at the prompt ends the program.",
        {"lapidary chat nano", "lapidary chat --server=127.0.0.1:7421",
         "printf 'Translate cat to Russian.\\n' | lapidary chat nano"},
    };
  }

  void DefineFlags(FlagSet* flags) override {
    flags->Section("Chat");
    flags->Text("system", "TEXT", "Instructions before the first turn.",
                &system_);
    flags->Switch("timings", "After each answer, its speed on stderr.",
                  &timings_);
    generate_.Define(flags);
    target_.Define(flags);
  }

  absl::Status Run(const std::vector<std::string>& arguments) override {
    if (arguments.size() > 1 || (arguments.empty() && !target_.remote())) {
      return UsageError("one MODEL, a packed folder, is wanted");
    }
    v1::GenerateRequest request;
    absl::Status applied = generate_.Apply(&request);
    if (!applied.ok()) return applied;
    auto connection =
        target_.Connect(arguments.empty() ? std::string() : arguments[0]);
    if (!connection.ok()) return connection.status();

    const bool terminal = isatty(STDIN_FILENO);
    if (terminal) std::cout << kInChat << "\n";
    Reset(&request);
    std::string line;
    while (ReadLine(terminal, &line)) {
      if (line == "/exit") break;
      if (line == "/help") {
        std::cout << kInChat << "\n";
      } else if (line == "/reset") {
        Reset(&request);
      } else if (absl::StartsWith(line, "/")) {
        std::cerr << "lapidary: there is no " << line << "; " << kInChat
                  << "\n";
      } else if (!line.empty()) {
        absl::Status turn = Turn(connection->get(), line, &request);
        if (!turn.ok() && !terminal) return turn;
        if (!turn.ok()) std::cerr << "lapidary: " << turn.message() << "\n";
      }
    }
    if (terminal) std::cout << "\n";
    return absl::OkStatus();
  }

 private:
  static bool ReadLine(bool terminal, std::string* line) {
    if (terminal) std::cout << "> " << std::flush;
    if (!std::getline(std::cin, *line)) return false;
    absl::StripAsciiWhitespace(line);
    return true;
  }

  void Reset(v1::GenerateRequest* request) const {
    v1::Chat* chat = request->mutable_prompt()->mutable_chat();
    chat->Clear();
    if (!system_.empty()) AddText("system", system_, chat);
  }

  // A turn that fails or is cancelled is forgotten.
  absl::Status Turn(Connection* connection, const std::string& line,
                    v1::GenerateRequest* request) const {
    v1::Chat* chat = request->mutable_prompt()->mutable_chat();
    AddText("user", line, chat);
    absl::StatusOr<Answer> answer = Generate(
        connection, *request,
        [](absl::string_view text) { std::cout << text << std::flush; });
    std::cout << std::endl;
    if (!answer.ok()) {
      chat->mutable_messages()->RemoveLast();
      return answer.status();
    }
    AddText("assistant", answer->text, chat);
    if (timings_) std::cerr << Summary(answer->final) << "\n";
    return absl::OkStatus();
  }

  std::string system_;
  bool timings_ = false;
  GenerateFlags generate_;
  Target target_;
};

}  // namespace

std::unique_ptr<Command> MakeChatCommand() {
  return std::make_unique<ChatCommand>();
}

}  // namespace lapidary::cli
