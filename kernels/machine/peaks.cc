#include "kernels/machine/peaks.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "kernels/machine/loops.h"

namespace lapidary::kernels {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kReads = 5;
constexpr double kArithmeticSeconds = 0.05;
constexpr int64_t kPassesAtOnce = 10000;  // some 20 µs

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Calls body(thread) on `threads` threads that begin together; returns the
// seconds from then until the last one is done.
double RunTogether(int threads, const std::function<void(int)>& body) {
  std::atomic<int> missing{threads};
  std::vector<std::thread> team;
  const auto run = [&](int thread) {
    --missing;
    while (missing > 0) std::this_thread::yield();
    body(thread);
  };
  for (int thread = 1; thread < threads; ++thread) {
    team.emplace_back(run, thread);
  }
  while (missing > 1) std::this_thread::yield();
  const auto start = Clock::now();
  run(0);
  for (std::thread& member : team) member.join();
  return SecondsSince(start);
}

std::atomic<uint64_t> sink;  // where the loops' results go

}  // namespace

double MeasureReadRate(const std::byte* data, size_t bytes, int threads) {
  const size_t grains = bytes / kReadGrain;
  if (grains == 0) return 0;
  std::vector<double> rates;
  for (int read = 0; read <= kReads; ++read) {
    const double seconds = RunTogether(threads, [&](int thread) {
      const size_t first = grains * thread / threads;
      const size_t last = grains * (thread + 1) / threads;
      sink += ReadAll(data + first * kReadGrain, (last - first) * kReadGrain);
    });
    if (read > 0) rates.push_back(grains * kReadGrain / seconds);
  }
  std::nth_element(rates.begin(), rates.begin() + kReads / 2, rates.end());
  return rates[kReads / 2];
}

ArithmeticPeak MeasureArithmeticPeak(DType dtype, int threads) {
  ArithmeticLoop loop;
  if (dtype == DType::kBf16) loop = Bf16DotLoop();
  if (dtype == DType::kInt8 || dtype == DType::kInt4) loop = ByteDotLoop();
  if (loop.run == nullptr) loop = FloatLoop();
  std::vector<double> rates(threads);
  RunTogether(threads, [&](int thread) {
    const auto start = Clock::now();
    double passes = 0;
    double seconds = 0;
    while (seconds < kArithmeticSeconds) {
      sink += loop.run(kPassesAtOnce);
      passes += kPassesAtOnce;
      seconds = SecondsSince(start);
    }
    rates[thread] = passes * loop.operations_per_pass / seconds;
  });
  ArithmeticPeak peak{loop.instruction, 0};
  for (double rate : rates) peak.per_second += rate;
  return peak;
}

}  // namespace lapidary::kernels
