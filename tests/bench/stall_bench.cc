// How much running answers slow down while a long prompt arrives beside them:
//
//   bazel run -c opt //tests/bench:stall_bench -- FOLDER [--prompt=2000]
//       [--streams=4] [--tokens=256] [--max-slowdown=2] [--threads=0]
//
// `streams` answers of `tokens` tokens run at once; a quarter of the way the
// prompt comes. Every time between two tokens of a stream is counted, from the
// first token to the last; p99 ≤ 3 × the median is the promise.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "actors/node.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

using Clock = std::chrono::steady_clock;

struct StallOptions {
  std::string folder;
  int prompt = 2000;  // tokens of the prompt that comes in between
  int streams = 4;
  int tokens = 256;  // of each stream
  int threads = 0;
  double max_slowdown = NodeOptions().max_slowdown;
};

double Milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

std::vector<int32_t> SomeIds(int count, int seed) {
  std::vector<int32_t> ids = {2};
  for (int i = 1; i < count; ++i) ids.push_back(200 + (i * 7919 + seed) % 2000);
  return ids;
}

// When each token of one answer came; `tokens` counts them as they do.
std::vector<Clock::time_point> Follow(Stub& stub, int prompt, int tokens,
                                      int seed, std::atomic<int>* count) {
  v1::GenerateRequest request = AskIds(SomeIds(prompt, seed), tokens);
  request.set_ignore_eos(true);
  std::vector<Clock::time_point> at;
  const Answer answer = Generate(stub, request, [&](const Answer& so_far) {
    at.resize(so_far.tokens.size(), Clock::now());
    *count = static_cast<int>(at.size());
    return true;
  });
  if (!answer.status.ok()) {
    std::fprintf(stderr, "%s\n", answer.status.error_message().c_str());
  }
  return at;
}

double Quantile(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1,
                         static_cast<size_t>(q * sorted.size()))];
}

int Measure(const StallOptions& options) {
  NodeOptions node_options;
  node_options.model_folder = options.folder;
  node_options.threads = options.threads;
  node_options.max_slowdown = options.max_slowdown;
  node_options.log = [](absl::string_view) {};
  auto node = Node::Start(node_options);
  if (!node.ok()) {
    std::fprintf(stderr, "%s\n", node.status().ToString().c_str());
    return 1;
  }
  auto stub = InProcessStub(**node);
  std::atomic<int> count{0};
  Follow(*stub, 64, 8, 0, &count);  // brings the weights into memory

  std::vector<std::vector<Clock::time_point>> at(options.streams);
  std::vector<std::atomic<int>> counts(options.streams);
  std::vector<std::thread> clients;
  for (int i = 0; i < options.streams; ++i) {
    clients.emplace_back([&, i] {
      at[i] = Follow(*stub, 32, options.tokens, i + 1, &counts[i]);
    });
  }
  const auto started = [&] {
    return std::all_of(counts.begin(), counts.end(), [&](const auto& tokens) {
      return tokens >= options.tokens / 4;
    });
  };
  while (!started()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const Clock::time_point begin = Clock::now();
  const auto first = Follow(*stub, options.prompt, 1, 99, &count);
  for (std::thread& client : clients) client.join();
  if (first.empty()) return 1;

  std::vector<double> between, during;
  for (const auto& stream : at) {
    for (size_t i = 1; i < stream.size(); ++i) {
      between.push_back(Milliseconds(stream[i] - stream[i - 1]));
      if (stream[i] > begin && stream[i - 1] < first[0]) {
        during.push_back(between.back());
      }
    }
  }
  std::sort(between.begin(), between.end());
  std::sort(during.begin(), during.end());
  const double median = Quantile(between, 0.5);
  const double p99 = Quantile(between, 0.99);
  const double prefill = Milliseconds(first[0] - begin);
  std::printf("%d streams of %d tokens, a prompt of %d beside them\n",
              options.streams, options.tokens, options.prompt);
  std::printf("max slowdown       %g\n", options.max_slowdown);
  std::printf("between tokens ms  median %.1f  p99 %.1f  longest %.1f\n",
              median, p99, between.empty() ? 0 : between.back());
  std::printf("p99 / median       %.2f\n", p99 / median);
  std::printf("prompt             first token after %.0f ms, %.0f tokens/s\n",
              prefill, 1000 * options.prompt / prefill);
  const v1::StepCosts costs = GetStatus(*stub).step_costs();
  std::printf(
      "measured costs     decode step %.1f ms, prompt row %.2f ms (%.2f "
      "alone), %ld rows at most\n",
      costs.decode_step_ms(), costs.prompt_row_ms(),
      costs.prompt_row_alone_ms(), static_cast<long>(costs.prompt_rows()));
  std::printf("beside the prompt  median %.1f ms, %zu of %zu times\n",
              Quantile(during, 0.5), during.size(), between.size());
  return 0;
}

bool Parse(int argc, char** argv, StallOptions* options) {
  for (int i = 1; i < argc; ++i) {
    const std::vector<std::string> flag =
        absl::StrSplit(argv[i], absl::MaxSplits('=', 1));
    const std::string value = flag.size() == 2 ? flag[1] : "";
    bool ok = false;
    if (flag[0] == "--prompt") {
      ok = absl::SimpleAtoi(value, &options->prompt) && options->prompt > 0;
    } else if (flag[0] == "--streams") {
      ok = absl::SimpleAtoi(value, &options->streams) && options->streams > 0;
    } else if (flag[0] == "--tokens") {
      ok = absl::SimpleAtoi(value, &options->tokens) && options->tokens > 0;
    } else if (flag[0] == "--threads") {
      ok = absl::SimpleAtoi(value, &options->threads);
    } else if (flag[0] == "--max-slowdown") {
      ok = absl::SimpleAtod(value, &options->max_slowdown);
    } else if (flag.size() == 1 && options->folder.empty()) {
      options->folder = flag[0];
      ok = true;
    }
    if (!ok) {
      std::fprintf(stderr, "%s: not understood\n", argv[i]);
      return false;
    }
  }
  return !options->folder.empty();
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  lapidary::StallOptions options;
  if (!lapidary::Parse(argc, argv, &options)) {
    std::fprintf(stderr,
                 "usage: stall_bench FOLDER [--prompt=TOKENS] [--streams=N] "
                 "[--tokens=N] [--max-slowdown=X] [--threads=N]\n");
    return 2;
  }
  return lapidary::Measure(options);
}
