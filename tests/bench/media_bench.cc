// What images or sounds cost a node and those who use it meanwhile:
//
//   bazel run -c opt //tests/bench:media_bench -- FOLDER FILE
//       [--streams=4] [--tokens=96] [--files=3] [--threads=0]
//
// FOLDER is a packed model with the tower (lapidary synth --shape=e2b+vision or
// +audio), FILE a PNG or a WAV file. Shows the first one's time (the tower is
// loaded for it), later ones' and a known one's, the process's memory before,
// with and after the tower, and the times between the tokens of `streams`
// answers: alone, and while files are encoded back to back. p99 ≤ 3 × the
// median without them is the promise.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "actors/node.h"
#include "storage/file_io.h"
#include "tests/actors/nano_node.h"

namespace lapidary {
namespace {

using Clock = std::chrono::steady_clock;

struct MediaBenchOptions {
  std::string folder, file;
  int streams = 4;
  int tokens = 96;  // of each stream
  int files = 3;    // of which the median is shown
  int threads = 0;
};

double Milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1,
                         static_cast<size_t>(q * values.size()))];
}

// The same in another file: what follows the end of a PNG or of a WAV's samples
// is not read.
std::string Another(const std::string& file, int number) {
  return absl::StrCat(file, number);
}

bool IsSound(const std::string& file) { return file.substr(0, 4) == "RIFF"; }

double EncodeMs(Stub& stub, const std::string& file) {
  v1::EncodeMediaRequest request;
  if (IsSound(file)) {
    request.mutable_audio()->set_data(file);
  } else {
    request.mutable_image()->set_data(file);
  }
  v1::EncodeMediaResponse response;
  grpc::ClientContext context;
  const Clock::time_point begin = Clock::now();
  const grpc::Status status = stub.EncodeMedia(&context, request, &response);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.error_message().c_str());
    std::_Exit(1);  // the time of a refusal says nothing
  }
  return Milliseconds(Clock::now() - begin);
}

// Times between the tokens of all streams.
std::vector<double> Streams(Stub& stub, const MediaBenchOptions& options) {
  std::vector<std::vector<Clock::time_point>> at(options.streams);
  std::vector<std::thread> clients;
  for (int i = 0; i < options.streams; ++i) {
    clients.emplace_back([&, i] {
      std::vector<int32_t> ids = {2};
      for (int t = 1; t < 32; ++t) ids.push_back(200 + (t * 7919 + i) % 2000);
      v1::GenerateRequest request = AskIds(ids, options.tokens);
      request.set_ignore_eos(true);
      Generate(stub, request, [&](const Answer& so_far) {
        at[i].resize(so_far.tokens.size(), Clock::now());
        return true;
      });
    });
  }
  for (std::thread& client : clients) client.join();
  std::vector<double> between;
  for (const auto& stream : at) {
    for (size_t i = 1; i < stream.size(); ++i) {
      between.push_back(Milliseconds(stream[i] - stream[i - 1]));
    }
  }
  return between;
}

bool Loaded(const v1::StatusResponse& status) {
  return status.vision().loaded() || status.audio().loaded();
}

void PrintMemory(Stub& stub, const char* when) {
  const v1::StatusResponse status = GetStatus(stub);
  std::printf(
      "%-18s %.0f MB resident, tower %s (weights %.0f MB)\n", when,
      status.memory().process_resident() / 1e6,
      Loaded(status) ? "loaded" : "not loaded",
      (status.vision().weight_bytes() + status.audio().weight_bytes()) / 1e6);
}

int Measure(const MediaBenchOptions& options) {
  const auto file = ReadFile(options.file, size_t{32} << 20);
  NodeOptions node_options;
  node_options.model_folder = options.folder;
  node_options.threads = options.threads;
  node_options.vision.idle = absl::Seconds(2);
  node_options.audio.idle = absl::Seconds(2);
  node_options.log = [](absl::string_view) {};
  auto node = Node::Start(node_options);
  if (!file.ok() || !node.ok()) {
    std::fprintf(stderr, "%s %s\n", file.status().ToString().c_str(),
                 node.status().ToString().c_str());
    return 1;
  }
  auto stub = InProcessStub(**node);
  int number = 0;
  PrintMemory(*stub, "before");
  std::printf("first file         %.0f ms, the tower's loading included\n",
              EncodeMs(*stub, Another(*file, ++number)));
  std::vector<double> times;
  for (int i = 0; i < options.files; ++i) {
    times.push_back(EncodeMs(*stub, Another(*file, ++number)));
  }
  std::printf("a file             %.0f ms\n", Quantile(times, 0.5));
  times.clear();
  for (int i = 0; i < 20; ++i) {
    times.push_back(EncodeMs(*stub, Another(*file, number)));
  }
  std::printf("a known file       %.2f ms\n", Quantile(times, 0.5));
  PrintMemory(*stub, "with the tower");
  WaitFor(*stub,
          [](const v1::StatusResponse& status) { return !Loaded(status); });
  PrintMemory(*stub, "unloaded");

  Streams(*stub, options);  // brings the weights into memory
  const std::vector<double> alone = Streams(*stub, options);
  std::atomic<bool> stop{false};
  std::atomic<int> encoded{0};
  std::thread files([&] {
    while (!stop) {
      EncodeMs(*stub, Another(*file, ++number));
      ++encoded;
    }
  });
  const std::vector<double> beside = Streams(*stub, options);
  stop = true;
  files.join();
  const double median = Quantile(alone, 0.5);
  std::printf(
      "%d streams alone    median %.1f ms, p99 %.1f ms between tokens\n",
      options.streams, median, Quantile(alone, 0.99));
  std::printf("beside files       median %.1f ms, p99 %.1f ms; %d files\n",
              Quantile(beside, 0.5), Quantile(beside, 0.99), encoded.load());
  std::printf("p99 beside files   %.2f × the median alone\n",
              Quantile(beside, 0.99) / median);
  return 0;
}

bool Parse(int argc, char** argv, MediaBenchOptions* options) {
  for (int i = 1; i < argc; ++i) {
    const std::vector<std::string> flag =
        absl::StrSplit(argv[i], absl::MaxSplits('=', 1));
    const std::string value = flag.size() == 2 ? flag[1] : "";
    bool ok = true;
    if (flag[0] == "--streams") {
      ok = absl::SimpleAtoi(value, &options->streams) && options->streams > 0;
    } else if (flag[0] == "--tokens") {
      ok = absl::SimpleAtoi(value, &options->tokens) && options->tokens > 0;
    } else if (flag[0] == "--files") {
      ok = absl::SimpleAtoi(value, &options->files) && options->files > 0;
    } else if (flag[0] == "--threads") {
      ok = absl::SimpleAtoi(value, &options->threads);
    } else if (options->folder.empty()) {
      options->folder = argv[i];
    } else if (options->file.empty()) {
      options->file = argv[i];
    } else {
      ok = false;
    }
    if (!ok) {
      std::fprintf(stderr, "%s: not understood\n", argv[i]);
      return false;
    }
  }
  return !options->file.empty();
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  lapidary::MediaBenchOptions options;
  if (!lapidary::Parse(argc, argv, &options)) {
    std::fprintf(stderr,
                 "usage: media_bench FOLDER FILE [--streams=N] "
                 "[--tokens=N] [--files=N] [--threads=N]\n");
    return 2;
  }
  return lapidary::Measure(options);
}
