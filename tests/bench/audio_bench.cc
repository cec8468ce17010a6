// How long the 680M audio tower takes for a clip, beside the oneDNN matrix
// products that it cannot do without, what live sounds cost, and memory.
//
//   audio_bench FOLDER DTYPE[,DTYPE…] [SECONDS] [THREADS] [ROUNDS]
//
// Towers of several dtypes, f32, bf16 and int8, take turns. FOLDER keeps the
// packed random models (2.8 GB in f32) for the next time, each in a folder
// named for its dtype. The products alone are of all of a clip's rows by
// oneDNN's own threads, weights in the order that it likes best, each shape
// timed by itself and counted as often as the tower has it; int8's are
// oneDNN's bf16 ones. One live sound's limit is the memory: its weights, at the
// rate at which the threads read a buffer that no cache holds, in turn with it.
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "kernels/audio/mel.h"
#include "kernels/audio/tower.h"
#include "kernels/machine/peaks.h"
#include "kernels/parallel.h"
#include "kernels/tensor.h"
#include "oneapi/dnnl/dnnl.hpp"
#include "storage/packed_model.h"
#include "tests/bench/tower_model.h"

namespace lapidary {
namespace {

using dnnl::memory;
using kernels::audio::AudioBatch;
using kernels::audio::AudioConfig;
using kernels::audio::AudioState;
using kernels::audio::AudioTower;

double Quantile(std::vector<double> values, double part) {
  std::sort(values.begin(), values.end());
  const auto last = static_cast<double>(values.size() - 1);
  return values[static_cast<size_t>(part * last + 0.5)];
}

double Median(std::vector<double> values) {
  return Quantile(std::move(values), 0.5);
}

// The tower in `dtype`; the rest in what it can be.
void MakeModel(const std::string& folder, kernels::DType dtype) {
  PackDTypes dtypes;
  dtypes.matrices =
      dtype == kernels::DType::kInt8 ? kernels::DType::kBf16 : dtype;
  dtypes.others[MatrixGroup::kAudio] = dtype;
  MakeTowerModel(folder, "e2b+audio", dtypes);
}

// Milliseconds of one product [rows][k] x [k][n] by oneDNN.
double ProductTime(int64_t rows, int64_t n, int64_t k, memory::data_type type) {
  dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const memory::desc x({rows, k}, type, memory::format_tag::ab);
  const memory::desc w({k, n}, type, memory::format_tag::any);
  const memory::desc y({rows, n}, memory::data_type::f32,
                       memory::format_tag::ab);
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(x, w, y),
                                                 engine);
  dnnl::matmul primitive(description);
  memory source(description.src_desc(), engine);
  memory weights(description.weights_desc(), engine);
  memory target(description.dst_desc(), engine);
  for (memory* m : {&source, &weights, &target}) {
    auto* bytes = static_cast<unsigned char*>(m->get_data_handle());
    std::fill(bytes, bytes + m->get_desc().get_size(), 0x11);
  }
  const auto run = [&] {
    primitive.execute(stream, {{DNNL_ARG_SRC, source},
                               {DNNL_ARG_WEIGHTS, weights},
                               {DNNL_ARG_DST, target}});
    stream.wait();
  };
  run();
  std::vector<double> times;
  double spent = 0;
  while (times.size() < 3 || (spent < 60 && times.size() < 50)) {
    times.push_back(Milliseconds(run));
    spent += times.back();
  }
  return Median(times);
}

double ProductsAlone(const AudioConfig& c, int64_t frames,
                     memory::data_type type) {
  const int64_t tokens = std::max<int64_t>(1, frames / c.conf_reduction_factor);
  const int64_t d = c.hidden_size, blocks = c.conf_num_hidden_layers;
  const auto time = [&](int64_t rows, int64_t n, int64_t k, int64_t count) {
    return ProductTime(rows, n, k, type) * static_cast<double>(count);
  };
  // In the last block only tokens go through what follows the convolution.
  return time(frames, d, c.subsampled_size(), 1) +
         time(frames, 4 * d, d, 2 * blocks - 1) +
         time(frames, d, 4 * d, 2 * blocks - 1) +
         time(frames, d, d, 5 * blocks - 1) + time(frames, 2 * d, d, blocks) +
         time(tokens, 4 * d, d, 1) + time(tokens, d, 4 * d, 1) +
         time(tokens, d, d, 1) + time(tokens, c.text_hidden_size, d, 1);
}

// Of the matrices that a live sound's frames are multiplied by.
double WeightBytes(const AudioConfig& c, const std::string& dtype) {
  const int64_t d = c.hidden_size;
  const int64_t of_a_block = 2 * 8 * d * d + 4 * d * d + 3 * d * d;
  const int64_t weights = c.conf_num_hidden_layers * of_a_block +
                          c.subsampled_size() * d + d * c.text_hidden_size;
  const int bytes = dtype == "f32" ? 4 : dtype == "bf16" ? 2 : 1;
  return static_cast<double>(weights * bytes);
}

// Bytes a second.
double ReadRate(int threads) {
  static const auto buffer = [] {
    auto made = kernels::AlignedBuffer::Make(size_t{1} << 30);
    // Pages that nobody wrote to are all one.
    std::memset(made->data(), 1, made->size());
    return made;
  }();
  return kernels::MeasureReadRate(buffer->data(), buffer->size(), threads);
}

std::vector<float> Noise(int64_t count) {
  std::mt19937 generator(1);
  std::uniform_real_distribution<float> uniform(-0.2f, 0.2f);
  std::vector<float> samples(count);
  for (float& sample : samples) sample = uniform(generator);
  return samples;
}

struct ClipTimes {
  double whole = 0, longest_step = 0;
  size_t bytes = 0;
};

ClipTimes EncodeClip(AudioTower* tower, const std::vector<float>& samples) {
  ClipTimes times;
  AudioState clip(tower);
  clip.Push(samples.data(), static_cast<int64_t>(samples.size())).IgnoreError();
  clip.Finish();
  for (bool more = true; more;) {
    const double step = Milliseconds([&] { more = clip.Step(); });
    times.whole += step;
    times.longest_step = std::max(times.longest_step, step);
    times.bytes = std::max(times.bytes, clip.bytes());
  }
  return times;
}

// Of 480 ms.
constexpr int64_t kFramesOfAStep = 12;

constexpr int kSoundsAtOnce[] = {1, 2, 4, 8, 16};

// Milliseconds of compute for each 480 ms of `count` live sounds at once.
std::vector<double> Stream(AudioTower* tower, const std::vector<float>& samples,
                           int count) {
  constexpr int64_t kStep = 640 * kFramesOfAStep;
  std::vector<AudioState> clips;
  for (int i = 0; i < count; ++i) clips.emplace_back(tower);
  std::vector<AudioState*> all;
  for (AudioState& clip : clips) all.push_back(&clip);
  std::vector<double> times;
  for (int64_t at = 0; at + kStep <= static_cast<int64_t>(samples.size());
       at += kStep) {
    for (AudioState& clip : clips) clip.Push(&samples[at], kStep).IgnoreError();
    times.push_back(Milliseconds([&] {
      AudioBatch batch(tower, all);
      while (batch.Step()) {
      }
    }));
  }
  return times;
}

// Milliseconds of a clip's mel frames, shared by `threads`.
double MelTime(const AudioConfig& config, const std::vector<float>& samples,
               int threads) {
  const kernels::audio::MelFrontEnd mel(config.mel);
  kernels::Scratch scratch;
  std::vector<float> row(config.mel.feature_size);
  const int64_t frames =
      config.mel.Frames(static_cast<int64_t>(samples.size()));
  const double alone = Milliseconds([&] {
    for (int64_t m = 0; m < frames; ++m) {
      mel.Frame(&samples[m * config.mel.hop_length], row.data(), &scratch);
    }
  });
  return alone / threads;
}

// A tower and what was measured of it.
struct Case {
  std::string dtype;
  std::unique_ptr<AudioTower> tower;
  std::vector<double> clip, alone, step_alone, longest, mel, reading;
  std::map<int, std::vector<double>> steps;  // by sounds at once
  size_t bytes = 0;
};

Case Open(const std::string& folder, const std::string& dtype) {
  Case result;
  result.dtype = dtype;
  const std::string packed = folder + "/" + dtype;
  MakeModel(packed, dtype == "int8"   ? kernels::DType::kInt8
                    : dtype == "bf16" ? kernels::DType::kBf16
                                      : kernels::DType::kF32);
  const auto model = PackedModel::Open(packed, PackedModelOptions());
  absl::Status status = model.status();
  if (status.ok()) {
    const auto weights = (*model)->LoadAudio();
    if (weights.ok()) result.tower = std::make_unique<AudioTower>(*weights);
    status = weights.status();
  }
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::exit(1);
  }
  return result;
}

void Measure(const std::vector<float>& samples, int threads, Case* c) {
  const ClipTimes times = EncodeClip(c->tower.get(), samples);
  c->clip.push_back(times.whole);
  c->longest.push_back(times.longest_step);
  c->bytes = times.bytes;
  c->mel.push_back(MelTime(c->tower->config(), samples, threads));
  for (const int sounds : kSoundsAtOnce) {
    const std::vector<double> live = Stream(c->tower.get(), samples, sounds);
    std::vector<double>& steps = c->steps[sounds];
    steps.insert(steps.end(), live.begin(), live.end());
  }
  c->reading.push_back(1e3 * WeightBytes(c->tower->config(), c->dtype) /
                       ReadRate(threads));
  omp_set_num_threads(threads);
  const auto type =
      c->dtype == "f32" ? memory::data_type::f32 : memory::data_type::bf16;
  const AudioConfig& config = c->tower->config();
  const auto count = static_cast<int64_t>(samples.size());
  c->alone.push_back(
      ProductsAlone(config, config.ConformerFrames(count), type));
  c->step_alone.push_back(ProductsAlone(config, kFramesOfAStep, type));
}

void Print(const Case& c) {
  std::printf("%s\n", c.dtype.c_str());
  std::printf("clip          %8.1f ms (%.0f to %.0f), longest step %.1f ms\n",
              Median(c.clip), Quantile(c.clip, 0), Quantile(c.clip, 1),
              Median(c.longest));
  std::printf("products only %8.1f ms: %.0f %% of the clip's time\n",
              Median(c.alone), 100 * Median(c.alone) / Median(c.clip));
  std::printf("mel           %8.1f ms: %.2f %%\n", Median(c.mel),
              100 * Median(c.mel) / Median(c.clip));
  for (const auto& [sounds, steps] : c.steps) {
    std::printf(
        "480 ms of %2d sounds %8.1f ms, p99 %.1f: %.1f %% of real time each\n",
        sounds, Median(steps), Quantile(steps, 0.99),
        100 * Median(steps) / 480 / sounds);
  }
  std::printf(
      "weights alone %8.1f ms, read from memory: %.0f %% of one sound's\n",
      Median(c.reading), 100 * Median(c.reading) / Median(c.steps.at(1)));
  std::printf("products only %8.1f ms, one weight again and again\n",
              Median(c.step_alone));
  std::printf("memory        %8.1f MB clip, %.1f MB scratch\n",
              static_cast<double>(c.bytes) / 1e6,
              static_cast<double>(c.tower->ScratchBytes()) / 1e6);
}

int Main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr,
                 "audio_bench FOLDER DTYPE[,DTYPE…] [SECONDS] [THREADS] "
                 "[ROUNDS]\n");
    return 2;
  }
  const double seconds = argc > 3 ? std::atof(argv[3]) : 30.0;
  const int threads = argc > 4 ? std::atoi(argv[4]) : 2;
  const int rounds = argc > 5 ? std::atoi(argv[5]) : 5;
  omp_set_num_threads(threads);
  kernels::SetComputeThreads(threads);
  std::vector<Case> cases;
  for (const absl::string_view dtype : absl::StrSplit(argv[2], ',')) {
    cases.push_back(Open(argv[1], std::string(dtype)));
  }
  const auto samples = Noise(static_cast<int64_t>(seconds * 16000));
  for (const Case& c : cases) EncodeClip(c.tower.get(), samples);
  const double peak = PeakMegabytes();  // without what is read for its rate
  for (int round = 0; round < rounds; ++round) {
    for (Case& c : cases) Measure(samples, threads, &c);
  }
  std::printf("%.1f s, %d threads, %.0f MB peak\n", seconds, threads, peak);
  for (const Case& c : cases) Print(c);
  return 0;
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) { return lapidary::Main(argc, argv); }
