#include "deploy/cli/daemon.h"

#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "actors/node.h"
#include "deploy/cli/app.h"
#include "deploy/cli/flags.h"
#include "deploy/cli/node_flags.h"
#include "deploy/cli/status_text.h"
#include "deploy/cli/target.h"
#include "grpcpp/channel.h"

namespace lapidary::cli {
namespace {

// Every connection takes a file descriptor, and gRPC 1.51 stops listening for
// good once accept() has found none: take as many as the system allows.
void RaiseFileLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

struct DaemonFlags {
  std::string model;
  std::string listen = kDefaultAddress;
  absl::Duration grace = absl::Seconds(10);
  NodeFlags node;

  void Define(FlagSet* flags) {
    flags->Section("Serving");
    flags->Text("model", "FOLDER",
                "The packed model to serve; lapidary pack makes one.", &model);
    flags->Text("listen", "HOST:PORT",
                "Where to listen. 0.0.0.0 is every interface (there is no "
                "encryption and no login: keep it inside a network you "
                "trust); port 0 takes a free one, which is printed.",
                &listen);
    flags->Duration("grace",
                    "How long running requests may go on after SIGTERM or "
                    "SIGINT.",
                    &grace);
    node.DefineServing(flags);
    node.DefineCompute(flags, "Machine", "audio");
  }
};

void ShowHelp(const FlagSet& flags) {
  std::cout << "lapidaryd: serves a packed Gemma 3n model over gRPC "
               "(lapidary.v1)\n\n"
               "Usage: lapidaryd --model=FOLDER [flags]\n"
            << flags.Help()
            << "\nExamples:\n"
               "  lapidaryd --model=nano\n"
               "  lapidaryd --model=e2b --listen=0.0.0.0:7421 --threads=8 "
               "--kv-memory=4G\n"
               "  lapidary run --server=127.0.0.1:7421 \"Translate cat to "
               "Russian.\"\n";
}

// Blocks the signals that end the server, in this thread and those it starts.
sigset_t BlockEndingSignals() {
  signal(SIGPIPE, SIG_IGN);  // a client that left is no reason to end
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

absl::Status Announce(Node* node, const std::string& listen) {
  auto stub = v1::Lapidary::NewStub(node->InProcessChannel());
  absl::StatusOr<NodeReport> report = AskForReport(stub.get());
  if (!report.ok()) return report.status();
  const std::string host = listen.substr(0, listen.rfind(':'));
  std::cout << ModelsText(report->models) << RolesText(report->status)
            << MemoryText(report->status) << "lapidaryd: listening on " << host
            << ":" << node->port() << std::endl;
  return absl::OkStatus();
}

absl::Status Serve(const DaemonFlags& flags) {
  absl::StatusOr<NodeOptions> options = flags.node.Options(flags.model);
  if (!options.ok()) return options.status();
  options->listen_address = flags.listen;
  const sigset_t signals = BlockEndingSignals();
  RaiseFileLimit();
  absl::StatusOr<std::unique_ptr<Node>> node = Node::Start(*options);
  if (!node.ok()) return node.status();
  absl::Status announced = Announce(node->get(), flags.listen);
  if (!announced.ok()) return announced;
  int received = 0;
  sigwait(&signals, &received);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  std::cout << "lapidaryd: " << strsignal(received)
            << ": running requests have " << absl::FormatDuration(flags.grace)
            << " to end" << std::endl;
  (*node)->Shutdown(flags.grace);
  std::cout << "lapidaryd: stopped" << std::endl;
  return absl::OkStatus();
}

absl::Status ParseAndServe(const std::vector<std::string>& args) {
  DaemonFlags values;
  FlagSet flags;
  values.Define(&flags);
  for (const std::string& arg : args) {
    if (arg == "--help" || arg == "-h") {
      ShowHelp(flags);
      return absl::OkStatus();
    }
    if (arg == "--version") {
      std::cout << "lapidaryd " << kVersion << "\n";
      return absl::OkStatus();
    }
  }
  absl::StatusOr<std::vector<std::string>> arguments = flags.Parse(args);
  if (!arguments.ok()) return arguments.status();
  if (!arguments->empty()) {
    return UsageError(
        absl::StrCat("lapidaryd takes flags only, not ", (*arguments)[0]));
  }
  if (values.model.empty()) {
    return UsageError(
        "--model=FOLDER is missing; lapidary pack makes a "
        "folder out of a Hugging Face one");
  }
  if (values.listen.rfind(':') == std::string::npos) {
    return UsageError(absl::StrCat("--listen=", values.listen,
                                   ": HOST:PORT is wanted, as in ",
                                   kDefaultAddress));
  }
  return Serve(values);
}

// Files of clients and what is decoded of them are large and short-lived. By
// default malloc learns from them to keep such memory: tens of MB for every
// thread that ever had one, of which a memory limit knows nothing.
void GiveLargeMemoryBack() {
  constexpr int kLarge = 128 << 10;
  mallopt(M_MMAP_THRESHOLD, kLarge);
  mallopt(M_TRIM_THRESHOLD, 8 * kLarge);
}

}  // namespace

int RunDaemon(const std::vector<std::string>& args) {
  QuietGrpc();
  GiveLargeMemoryBack();
  return ShowError("lapidaryd", "lapidaryd --help", ParseAndServe(args));
}

}  // namespace lapidary::cli
