// Puts a node under load: streams of mixed lengths, some of which are cancelled
// or run into their deadline, and says what came of it.
//
//   bazel run //tests/load -- --streams=64 --requests=1000
//   bazel run //tests/load -- --server=127.0.0.1:7421 --cancel=0
//   bazel run //tests/load -- --streams=64 --max-running=4 --max-queued=8
//
// The last is an overload: a client that is refused comes again when it was
// told to, and every one is answered in the end.
//
// Without --server it starts a node of its own, with the bundled model, on a
// free port of this machine. Fails (exit status 1) if a call ends in a way that
// was not asked for, or if the node holds a page when all is over.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

using Clock = std::chrono::steady_clock;

struct LoadOptions {
  std::string server;     // "" starts a node
  int streams = 64;       // at once
  int requests = 500;     // in all
  int max_prompt = 800;   // tokens
  int max_tokens = 128;   // of an answer
  double cancel = 0.15;   // share of calls cancelled midway
  double deadline = 0.1;  // share with a deadline that they miss
  uint32_t seed = 1;
  // Of a node that is started here; 0: as many as there are streams, at most
  // 64, and the usual queue.
  int max_running = 0;
  int max_queued = 0;
};

double Milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

// All that is measured; one for all clients.
struct Figures {
  std::mutex mutex;
  std::vector<double> first_token_ms;
  std::vector<double> between_tokens_ms;
  std::map<std::string, int> endings;
  int64_t tokens = 0;
  int unexpected = 0;
  int refusals = 0;  // that a client obeyed, and came again

  void AddRefusal() {
    std::lock_guard<std::mutex> lock(mutex);
    ++refusals;
  }

  void Add(const std::string& ending, const std::vector<Clock::time_point>& at,
           Clock::time_point begin, bool expected) {
    std::lock_guard<std::mutex> lock(mutex);
    ++endings[ending];
    if (!expected) ++unexpected;
    tokens += static_cast<int64_t>(at.size());
    if (!at.empty()) first_token_ms.push_back(Milliseconds(at[0] - begin));
    for (size_t i = 1; i < at.size(); ++i) {
      between_tokens_ms.push_back(Milliseconds(at[i] - at[i - 1]));
    }
  }
};

// One call; everything about it follows from its number.
void RunCall(Stub& stub, const LoadOptions& options, int number,
             Figures& figures) {
  std::mt19937 random(options.seed * 1000003 + number);
  std::vector<int32_t> prompt = {2};
  const int length = static_cast<int>(random() % options.max_prompt);
  for (int i = 0; i < length; ++i) prompt.push_back(200 + random() % 2800);
  v1::GenerateRequest request =
      AskIds(prompt, 1 + static_cast<int>(random() % options.max_tokens));
  request.set_ignore_eos(true);
  const double dice = static_cast<double>(random()) / random.max();
  const bool cancel = dice < options.cancel;
  const bool late = !cancel && dice < options.cancel + options.deadline;
  const size_t keep = random() % 20;
  const int deadline = late ? 1 + static_cast<int>(random() % 200) : 0;

  std::vector<Clock::time_point> at;
  const Clock::time_point begin = Clock::now();
  Answer answer;
  while (true) {
    answer = Generate(
        stub, request,
        [&](const Answer& so_far) {
          at.resize(so_far.tokens.size(), Clock::now());
          return !cancel || so_far.tokens.size() <= keep;
        },
        deadline);
    const int64_t wait = answer.retry_after_ms.value_or(0);
    if (wait <= 0 || late) break;
    figures.AddRefusal();
    std::this_thread::sleep_for(std::chrono::milliseconds(wait));
  }
  const grpc::StatusCode code = answer.status.error_code();
  const bool expected =
      code == grpc::StatusCode::OK ||
      (cancel && code == grpc::StatusCode::CANCELLED) ||
      (late && (code == grpc::StatusCode::DEADLINE_EXCEEDED ||
                code == grpc::StatusCode::RESOURCE_EXHAUSTED));
  figures.Add(code == grpc::StatusCode::OK
                  ? "finished"
                  : absl::StrCat(expected ? "" : "UNEXPECTED ", "code ", code,
                                 expected ? "" : answer.status.error_message()),
              at, begin, expected);
}

double Quantile(std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  const size_t at =
      std::min(values.size() - 1, static_cast<size_t>(q * values.size()));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[at];
}

void Print(Figures& figures, const v1::StatusResponse& status, double seconds) {
  for (const auto& [ending, count] : figures.endings) {
    std::printf("%-28s %d\n", ending.c_str(), count);
  }
  std::printf("refused, and came again      %d\n", figures.refusals);
  std::printf("tokens received              %ld (%.0f/s)\n",
              static_cast<long>(figures.tokens), figures.tokens / seconds);
  std::printf("first token ms   p50 / p99   %.1f / %.1f\n",
              Quantile(figures.first_token_ms, 0.5),
              Quantile(figures.first_token_ms, 0.99));
  std::printf("between tokens ms p50 / p99  %.2f / %.2f\n",
              Quantile(figures.between_tokens_ms, 0.5),
              Quantile(figures.between_tokens_ms, 0.99));
  std::printf("steps                        %lu, %.1f tokens each\n",
              static_cast<unsigned long>(status.queue().steps()),
              static_cast<double>(status.queue().completion_tokens()) /
                  std::max<uint64_t>(1, status.queue().steps()));
  std::printf("PLE reads                    %lu, hit rate %.3f, p50 %.0f us\n",
              static_cast<unsigned long>(status.ple().reads()),
              status.ple().hit_rate(), status.ple().read_us_p50());
  std::printf("pages in use afterwards      %ld of %ld\n",
              static_cast<long>(status.memory().kv_pages_in_use()),
              static_cast<long>(status.memory().kv_pages_total()));
  std::printf(
      "node resident                %.1f MiB\n",
      static_cast<double>(status.memory().process_resident()) / (1 << 20));
}

int Run(const LoadOptions& options) {
  std::unique_ptr<Node> node;
  std::string server = options.server;
  if (server.empty()) {
    NodeOptions node_options = NanoOptions();
    node_options.listen_address = "127.0.0.1:0";
    node_options.max_running = options.max_running > 0
                                   ? options.max_running
                                   : std::min(64, options.streams);
    if (options.max_queued > 0) node_options.max_queued = options.max_queued;
    node = StartNode(node_options);
    if (node == nullptr) return 1;
    server = absl::StrCat("127.0.0.1:", node->port());
  }
  auto channel =
      grpc::CreateChannel(server, grpc::InsecureChannelCredentials());

  Figures figures;
  std::atomic<int> next{0};
  const Clock::time_point begin = Clock::now();
  std::vector<std::thread> clients;
  for (int i = 0; i < options.streams; ++i) {
    clients.emplace_back([&] {
      auto stub = v1::Lapidary::NewStub(channel);
      for (int n = next++; n < options.requests; n = next++) {
        RunCall(*stub, options, n, figures);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  const double seconds = Milliseconds(Clock::now() - begin) / 1000;

  auto stub = v1::Lapidary::NewStub(channel);
  const bool idle = WaitFor(*stub, [](const v1::StatusResponse& status) {
    return status.queue().running() == 0 &&
           status.memory().kv_pages_in_use() == 0;
  });
  std::printf("%d requests, %d streams at once, %.1f s\n", options.requests,
              options.streams, seconds);
  Print(figures, GetStatus(*stub), seconds);
  return figures.unexpected == 0 && idle ? 0 : 1;
}

bool Parse(int argc, char** argv, LoadOptions* options) {
  for (int i = 1; i < argc; ++i) {
    const std::vector<std::string> flag =
        absl::StrSplit(argv[i], absl::MaxSplits('=', 1));
    const std::string value = flag.size() == 2 ? flag[1] : "";
    bool ok = true;
    if (flag[0] == "--server") {
      options->server = value;
    } else if (flag[0] == "--streams") {
      ok = absl::SimpleAtoi(value, &options->streams) && options->streams > 0;
    } else if (flag[0] == "--requests") {
      ok = absl::SimpleAtoi(value, &options->requests);
    } else if (flag[0] == "--max-prompt") {
      ok = absl::SimpleAtoi(value, &options->max_prompt) &&
           options->max_prompt > 0;
    } else if (flag[0] == "--max-tokens") {
      ok = absl::SimpleAtoi(value, &options->max_tokens) &&
           options->max_tokens > 0;
    } else if (flag[0] == "--cancel") {
      ok = absl::SimpleAtod(value, &options->cancel);
    } else if (flag[0] == "--deadline") {
      ok = absl::SimpleAtod(value, &options->deadline);
    } else if (flag[0] == "--max-running") {
      ok = absl::SimpleAtoi(value, &options->max_running);
    } else if (flag[0] == "--max-queued") {
      ok = absl::SimpleAtoi(value, &options->max_queued);
    } else if (flag[0] == "--seed") {
      ok = absl::SimpleAtoi(value, &options->seed);
    } else {
      ok = false;
    }
    if (!ok) {
      std::fprintf(stderr,
                   "%s: not understood; flags are --server=HOST:PORT "
                   "--streams=N --requests=N --max-prompt=TOKENS "
                   "--max-tokens=N --cancel=SHARE --deadline=SHARE --seed=N "
                   "--max-running=N --max-queued=N\n",
                   argv[i]);
      return false;
    }
  }
  return true;
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  lapidary::LoadOptions options;
  if (!lapidary::Parse(argc, argv, &options)) return 2;
  return lapidary::Run(options);
}
