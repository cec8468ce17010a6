// What a packed model does on this machine, beside what the machine allows:
//
//   bazel run //tests/bench:text_bench -- FOLDER [PROMPT_TOKENS [NEW_TOKENS]]
//
// Decoding one sequence reads every weight once a token, so its limit is the
// memory's bandwidth, which is read in the same run, between the tokens.
// Medians; "reference" is a plain read of the mapped weights by all threads.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "kernels/gemm/weight_layout.h"
#include "kernels/gemm/weight_matrix.h"
#include "kernels/parallel.h"
#include "kernels/simd/row_ops.h"
#include "storage/packed_model.h"
#include "tests/support/text_runner.h"

namespace lapidary {
namespace {

using Clock = std::chrono::steady_clock;
using Outputs = TextRunner::Outputs;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2,
                   values.end());
  return values[values.size() / 2];
}

// GB/s of a plain read of the largest matrix, the tied head.
class ReferenceRead {
 public:
  ReferenceRead(const void* data, size_t bytes)
      : data_(static_cast<const uint64_t*>(data)), words_(bytes / 8) {}

  double Run() {
    const auto start = Clock::now();
    std::atomic<uint64_t> total{0};
    kernels::ParallelRanges(words_, true, [&](int64_t first, int64_t last) {
      uint64_t part = 0;
      for (int64_t i = first; i < last; ++i) part += data_[i];
      total += part;
    });
    const double seconds = SecondsSince(start);
    sink_ = total;
    return words_ * 8 / seconds / 1e9;
  }

 private:
  const uint64_t* data_;
  size_t words_;
  volatile uint64_t sink_ = 0;
};

void PrintResident() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("Rss", 0) == 0 || line.rfind("VmRSS", 0) == 0) {
      std::printf("  %s\n", line.c_str());
    }
  }
}

std::vector<int32_t> SomeIds(int64_t count, int64_t below) {
  std::vector<int32_t> ids = {2};
  for (int64_t i = 1; i < count; ++i) ids.push_back(i * 7919 % below);
  return ids;
}

int Main(const std::string& folder, int64_t prompt, int64_t count) {
  TextRunnerOptions options;
  options.kv_dtype = kernels::DType::kBf16;
  auto runner = TextRunner::Open(folder, options);
  if (!runner.ok()) {
    std::fprintf(stderr, "%s\n", runner.status().ToString().c_str());
    return 1;
  }
  kernels::PinComputeThreads();
  auto* model = (*runner)->model();
  const PackedModel* packed = &(*runner)->packed();
  const auto head = packed->Lookup()("embed_tokens.weight");
  ReferenceRead reference(
      head->data,
      *kernels::WeightMatrixBytes(head->dtype, head->shape[0], head->shape[1]));
  reference.Run();  // brings the pages in
  std::printf("%s, %s weights, %d threads, vectors %s\n", folder.c_str(),
              kernels::NameOf(packed->dtype()), kernels::ComputeThreads(),
              kernels::VectorTarget());

  const auto ids = SomeIds(prompt, model->config().vocab_size_per_layer_input);
  {
    RunningSequence warm = (*runner)->Start(prompt);
    (*runner)->Feed(&warm, ids, 512, Outputs::kLast);  // primitives, pages
  }
  RunningSequence sequence = (*runner)->Start(prompt + count);
  model->ResetTimings();
  (*runner)->ResetPleSeconds();
  auto start = Clock::now();
  LogitRows logits = (*runner)->Feed(&sequence, ids, 512, Outputs::kLast);
  const double prefill = SecondsSince(start);
  std::printf(
      "prefill  %5ld tokens  %.2f s  %.1f tokens/s  (GEMM %.0f %%, attention "
      "%.0f %%, head %.0f %%, PLE read %.1f %%)\n",
      static_cast<long>(prompt), prefill, prompt / prefill,
      100e-9 * model->timings().gemm_ns / prefill,
      100e-9 * model->timings().attention_ns / prefill,
      100e-9 * model->timings().head_ns / prefill,
      100 * (*runner)->ple_seconds() / prefill);

  model->ResetTimings();
  (*runner)->ResetPleSeconds();
  std::vector<double> steps, bandwidths;
  double total = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (i % 8 == 0) bandwidths.push_back(reference.Run());
    const int32_t token =
        Argmax(logits.back(), model->config().vocab_size_per_layer_input);
    start = Clock::now();
    logits = (*runner)->Feed(&sequence, {token}, 1, Outputs::kLast);
    steps.push_back(SecondsSince(start));
    total += steps.back();
  }
  const double bytes = model->WeightBytesPerToken();
  const double bandwidth = Median(bandwidths);
  const double rate = 1 / Median(steps);
  std::printf(
      "decode   %5ld tokens  %.2f s  %.2f tokens/s (median step)\n"
      "         %.3f GB of weights a token at %.1f GB/s (reference read %.1f): "
      "limit %.2f tokens/s, share reached %.0f %%\n"
      "         GEMM %.0f %%, head %.0f %%, attention %.1f %%, PLE read %.2f "
      "%% "
      "of the step\n",
      static_cast<long>(count), total, rate, bytes / 1e9, bytes * rate / 1e9,
      bandwidth, bandwidth * 1e9 / bytes, 100 * bytes * rate / bandwidth / 1e9,
      100e-9 * model->timings().gemm_ns / total,
      100e-9 * model->timings().head_ns / total,
      100e-9 * model->timings().attention_ns / total,
      100 * (*runner)->ple_seconds() / total);
  if (model->sparsity().neurons > 0) {
    std::printf("         %.1f %% of the neurons of sparse layers active\n",
                100 * model->sparsity().ActiveShare());
  }
  std::printf(
      "memory   weights mapped %.2f GB, scratch %.0f MB, KV in use %.1f MB, "
      "PLE "
      "block cache %.0f MB, PLE table on disk %.2f GB\n",
      packed->weight_bytes() / 1e9, model->ScratchBytes() / 1e6,
      (*runner)->pool()->bytes_in_use() / 1e6,
      (*runner)->ple()->stats().block_cache_bytes / 1e6,
      packed->ple_shape().tokens * packed->ple_shape().StoredRowBytes() / 1e9);
  PrintResident();
  return 0;
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: text_bench FOLDER [PROMPT [NEW]]\n");
    return 2;
  }
  return lapidary::Main(argv[1], argc > 2 ? std::atol(argv[2]) : 512,
                        argc > 3 ? std::atol(argv[3]) : 64);
}
