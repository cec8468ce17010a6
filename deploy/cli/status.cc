// lapidary status: what a server is doing.
#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "deploy/cli/command.h"
#include "deploy/cli/connection.h"
#include "deploy/cli/json_output.h"
#include "deploy/cli/status_text.h"
#include "deploy/cli/target.h"

namespace lapidary::cli {
namespace {

// Who asks whether a server is there waits no longer than that takes.
constexpr std::chrono::seconds kPatience(2);

class StatusCommand : public Command {
 public:
  CommandHelp Help() const override {
    return {
        "status",
        "what a server is doing: roles, memory, queue, cache",
        "",
        "",
        {"lapidary status", "lapidary status --server=10.0.0.7:7421 --json"},
    };
  }

  void DefineFlags(FlagSet* flags) override {
    flags->Text("server", "HOST:PORT", "The lapidaryd to ask.", &server_);
    flags->Switch("json", "Print one JSON object.", &json_);
  }

  absl::Status Run(const std::vector<std::string>& arguments) override {
    if (!arguments.empty()) {
      return UsageError(
          "status takes no argument; name the server with "
          "--server=HOST:PORT");
    }
    auto connection = Connection::ToServer(server_, "", kPatience);
    if (!connection.ok()) return connection.status();
    absl::StatusOr<NodeReport> report = AskForReport(&(*connection)->stub());
    if (!report.ok()) return report.status();
    if (!json_) {
      std::cout << ModelsText(report->models) << RolesText(report->status)
                << MemoryText(report->status) << WorkText(report->status);
      return absl::OkStatus();
    }
    OutputJson json = ToJson(report->status);
    OutputJson& models = json["models"] = OutputJson::array();
    for (const v1::Model& model : report->models.models()) {
      models.push_back(ToJson(model));
    }
    std::cout << ToLine(json) << "\n";
    return absl::OkStatus();
  }

 private:
  std::string server_ = kDefaultAddress;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeStatusCommand() {
  return std::make_unique<StatusCommand>();
}

}  // namespace lapidary::cli
