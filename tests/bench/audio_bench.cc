// How long the 680M audio tower takes for a clip, beside the oneDNN matrix
// products that it cannot do without, what live sound costs, and memory.
//
//   audio_bench FOLDER f32|bf16 [SECONDS] [THREADS] [ROUNDS]
//
// FOLDER keeps the packed random model (2.8 GB in f32) for the next time. The
// products alone are of all of a clip's rows by oneDNN's own threads, weights
// in the order that it likes best, each shape timed by itself and counted as
// often as the tower has it.
#include <omp.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kernels/audio/mel.h"
#include "kernels/audio/tower.h"
#include "kernels/parallel.h"
#include "oneapi/dnnl/dnnl.hpp"
#include "storage/file_io.h"
#include "storage/json.h"
#include "storage/pack.h"
#include "storage/packed_model.h"
#include "storage/synth.h"

namespace lapidary {
namespace {

using dnnl::memory;
using kernels::audio::AudioConfig;
using kernels::audio::AudioState;
using kernels::audio::AudioTower;

double Milliseconds(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now() - start)
      .count();
}

double Quantile(std::vector<double> values, double part) {
  std::sort(values.begin(), values.end());
  const auto last = static_cast<double>(values.size() - 1);
  return values[static_cast<size_t>(part * last + 0.5)];
}

double Median(std::vector<double> values) {
  return Quantile(std::move(values), 0.5);
}

double PeakMegabytes() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

// A decoder as small as can be, and the published tower.
std::string ConfigJson() {
  Json json = *ParseJson(*SynthShape("e2b+audio"), "e2b+audio");
  Json& text = json["text_config"];
  for (const auto& [name, value] :
       std::map<std::string, int>{{"vocab_size", 262400},
                                  {"vocab_size_per_layer_input", 64},
                                  {"hidden_size_per_layer_input", 8},
                                  {"num_hidden_layers", 1},
                                  {"num_kv_shared_layers", 0},
                                  {"head_dim", 16}}) {
    text[name] = value;
  }
  text["intermediate_size"] = 64;
  text["layer_types"] = {"full_attention"};
  text["activation_sparsity_pattern"] = {0.0};
  return json.dump();
}

void MakeModel(const std::string& folder, kernels::DType dtype) {
  if (FileExists(folder + "/manifest.json")) return;
  SynthOptions synth;
  synth.config_json = ConfigJson();
  synth.target = folder + "-checkpoint";
  absl::Status status = Synthesize(synth);
  if (status.ok()) {
    PackOptions pack;
    pack.source = synth.target;
    pack.target = folder;
    pack.dtypes.matrices = dtype;
    status = Pack(pack);
  }
  RemoveAll(synth.target).IgnoreError();
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    std::exit(1);
  }
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

// Milliseconds of compute for each 480 ms of a live sound.
std::vector<double> Stream(AudioTower* tower,
                           const std::vector<float>& samples) {
  constexpr int64_t kStep = 640 * kFramesOfAStep;
  AudioState clip(tower);
  std::vector<double> times;
  for (int64_t at = 0; at + kStep <= static_cast<int64_t>(samples.size());
       at += kStep) {
    clip.Push(&samples[at], kStep).IgnoreError();
    times.push_back(Milliseconds([&] {
      while (clip.Step()) {
      }
    }));
  }
  return times;
}

int Main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr,
                 "audio_bench FOLDER f32|bf16 [SECONDS] [THREADS] [ROUNDS]\n");
    return 2;
  }
  const bool bf16 = std::string(argv[2]) == "bf16";
  const double seconds = argc > 3 ? std::atof(argv[3]) : 30.0;
  const int threads = argc > 4 ? std::atoi(argv[4]) : 2;
  const int rounds = argc > 5 ? std::atoi(argv[5]) : 5;
  MakeModel(argv[1], bf16 ? kernels::DType::kBf16 : kernels::DType::kF32);
  omp_set_num_threads(threads);
  kernels::SetComputeThreads(threads);

  const auto model = PackedModel::Open(argv[1], PackedModelOptions());
  if (!model.ok()) {
    std::fprintf(stderr, "%s\n", model.status().ToString().c_str());
    return 1;
  }
  const auto weights = (*model)->LoadAudio();
  if (!weights.ok()) {
    std::fprintf(stderr, "%s\n", weights.status().ToString().c_str());
    return 1;
  }
  AudioTower tower(*weights);
  const auto samples = Noise(static_cast<int64_t>(seconds * 16000));
  EncodeClip(&tower, samples);

  std::vector<double> clip, alone, step_alone, steps, longest;
  size_t bytes = 0;
  for (int round = 0; round < rounds; ++round) {
    const ClipTimes times = EncodeClip(&tower, samples);
    clip.push_back(times.whole);
    longest.push_back(times.longest_step);
    bytes = times.bytes;
    omp_set_num_threads(threads);
    const auto type = bf16 ? memory::data_type::bf16 : memory::data_type::f32;
    const auto count = static_cast<int64_t>(samples.size());
    alone.push_back(ProductsAlone(tower.config(),
                                  tower.config().ConformerFrames(count), type));
    step_alone.push_back(ProductsAlone(tower.config(), kFramesOfAStep, type));
    const std::vector<double> live = Stream(&tower, samples);
    steps.insert(steps.end(), live.begin(), live.end());
  }
  kernels::audio::MelFrontEnd mel(tower.config().mel);
  kernels::Scratch scratch;
  std::vector<float> row(tower.config().mel.feature_size);
  const int64_t frames = tower.config().mel.Frames(samples.size());
  const double mel_ms = Milliseconds([&] {
    for (int64_t m = 0; m < frames; ++m) {
      mel.Frame(&samples[m * 160], row.data(), &scratch);
    }
  });
  const double share = 100 * mel_ms / threads / Median(clip);
  std::printf("%s, %.1f s, %d threads\n", argv[2], seconds, threads);
  std::printf("clip          %8.1f ms (%.0f to %.0f), longest step %.1f ms\n",
              Median(clip), Quantile(clip, 0), Quantile(clip, 1),
              Median(longest));
  std::printf("products only %8.1f ms: %.0f %% of the clip's time\n",
              Median(alone), 100 * Median(alone) / Median(clip));
  std::printf("mel           %8.1f ms on one thread: %.2f %%\n", mel_ms, share);
  std::printf("480 ms live   %8.1f ms, p99 %.1f: %.1f %% of real time\n",
              Median(steps), Quantile(steps, 0.99), 100 * Median(steps) / 480);
  std::printf("products only %8.1f ms, one weight again and again\n",
              Median(step_alone));
  std::printf("memory        %8.1f MB clip, %.1f MB scratch, %.0f MB peak\n",
              static_cast<double>(bytes) / 1e6,
              static_cast<double>(tower.ScratchBytes()) / 1e6, PeakMegabytes());
  return 0;
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) { return lapidary::Main(argc, argv); }
