// How long the 300M vision tower takes, beside the oneDNN convolutions and
// matrix products that it cannot do without, and what memory it takes.
//
//   vision_bench FOLDER f32|bf16 [SIDE] [THREADS] [ROUNDS]
//
// FOLDER keeps the packed random model (1.2 GB in f32) for the next time. The
// primitives alone are whole maps by oneDNN's own threads, weights in the order
// that it likes best, each shape timed by itself, as often as the tower has it
// and with as many weights, since those of the tower are in no cache; tower and
// primitives take turns.
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/parallel.h"
#include "kernels/vision/conv_blocks.h"
#include "kernels/vision/tower.h"
#include "oneapi/dnnl/dnnl.hpp"
#include "storage/packed_model.h"
#include "storage/synth.h"
#include "tests/bench/tower_model.h"

namespace lapidary {
namespace {

using dnnl::memory;
using kernels::Window;
using kernels::vision::BlockConfig;
using kernels::vision::BlockType;
using kernels::vision::VisionConfig;
using kernels::vision::VisionTower;

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double ResidentMegabytes() {
  long pages = 0, resident = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  if (std::fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
  std::fclose(file);
  return static_cast<double>(resident) * 4096 / 1e6;
}

// One oneDNN primitive with memory of its own.
class Primitive {
 public:
  // Makes `copies` of the weights, for Run to choose from.
  void CopyWeights(int64_t copies) {
    while (static_cast<int64_t>(weights_.size()) < copies) {
      weights_.push_back(Filled(weights_[0].get_desc()));
    }
  }

  // A product [rows][k] x [k][n]; weights as the library likes, or plain.
  static Primitive Product(int64_t rows, int64_t n, int64_t k, bool plain,
                           memory::data_type type) {
    Primitive p;
    const memory::desc x({rows, k}, type, memory::format_tag::ab);
    const memory::desc w(
        {k, n}, type, plain ? memory::format_tag::ab : memory::format_tag::any);
    const memory::desc y({rows, n}, memory::data_type::f32,
                         memory::format_tag::ab);
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(x, w, y),
                                                   p.engine_);
    p.Make(dnnl::matmul(description), description.src_desc(),
           description.weights_desc(), description.dst_desc());
    return p;
  }

  static Primitive Convolution(int64_t in, int64_t out, int64_t groups,
                               const Window& window, int64_t side,
                               memory::data_type type) {
    Primitive p;
    const int64_t k = window.kernel, made = window.Outputs(side);
    const int64_t before = window.Before(side);
    const int64_t after = (made - 1) * window.stride + k - side - before;
    const memory::desc x({1, in, side, side}, type, memory::format_tag::nhwc);
    const memory::dims dims =
        groups == 1 ? memory::dims{out, in, k, k}
                    : memory::dims{groups, out / groups, in / groups, k, k};
    const memory::desc w(dims, type, memory::format_tag::any);
    const memory::desc y({1, out, made, made}, type, memory::format_tag::nhwc);
    const dnnl::convolution_forward::primitive_desc description(
        dnnl::convolution_forward::desc(dnnl::prop_kind::forward_inference,
                                        dnnl::algorithm::convolution_direct, x,
                                        w, y, {window.stride, window.stride},
                                        {before, before}, {after, after}),
        p.engine_);
    p.Make(dnnl::convolution_forward(description), description.src_desc(),
           description.weights_desc(), description.dst_desc());
    return p;
  }

  void Run(int64_t copy) {
    primitive_.execute(stream_, {{DNNL_ARG_SRC, source_},
                                 {DNNL_ARG_WEIGHTS, weights_[copy]},
                                 {DNNL_ARG_DST, target_}});
    stream_.wait();
  }

 private:
  void Make(dnnl::primitive primitive, const memory::desc& x,
            const memory::desc& w, const memory::desc& y) {
    primitive_ = std::move(primitive);
    source_ = Filled(x);
    weights_ = {Filled(w)};
    target_ = Filled(y);
  }

  memory Filled(const memory::desc& description) const {
    memory made(description, engine_);
    auto* bytes = static_cast<unsigned char*>(made.get_data_handle());
    std::fill(bytes, bytes + description.get_size(), 0x11);
    return made;
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  dnnl::primitive primitive_;
  memory source_, target_;
  std::vector<memory> weights_;
};

// Every convolution and product of a forward pass: key → (how to make it, how
// often, and whether with weights: attention's products have none).
class Inventory {
 public:
  using Make = std::function<Primitive()>;
  struct Entry {
    Make make;
    int64_t count = 0;
    bool weights = true;
  };

  Inventory(const VisionConfig& c, int64_t side, memory::data_type type)
      : config_(c), type_(type) {
    const Window stem = {3, 2, c.padding};
    Conv(3, c.stem_size, 1, stem, side);
    side = stem.Outputs(side);
    std::vector<int64_t> sides = {side};
    for (const auto& stage : c.stages) {
      for (const BlockConfig& block : stage) side = Block(block, side);
      sides.push_back(side);
    }
    const int64_t fused = sides[c.msfa_features.front()];
    const int64_t mid = c.msfa_in() * 2;
    Product(fused * fused, mid, c.msfa_in());
    Product(fused * fused, c.hidden_size, mid);
    Product(c.soft_tokens(), c.text_hidden_size, c.hidden_size);
  }

  // The time of all of them, once each as often as the tower does.
  double Time() const {
    double sum = 0;
    for (const auto& [key, entry] : entries_) {
      Primitive p = entry.make();
      if (entry.weights) p.CopyWeights(entry.count);
      const auto run_all = [&, &entry = entry] {
        for (int64_t i = 0; i < entry.count; ++i) p.Run(entry.weights ? i : 0);
      };
      run_all();
      std::vector<double> times;
      double spent = 0;
      while (times.size() < 3 || (spent < 20 && times.size() < 50)) {
        times.push_back(Milliseconds(run_all));
        spent += times.back();
      }
      sum += Median(times);
    }
    return sum;
  }

 private:
  using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;

  void Add(const Key& key, bool weights, Make make) {
    Entry& entry = entries_[key];
    entry.weights = weights;
    if (entry.count++ == 0) entry.make = std::move(make);
  }
  void Product(int64_t rows, int64_t n, int64_t k, bool plain = false) {
    Add({0, rows, n, k, plain, 0}, !plain, [=, type = type_] {
      return Primitive::Product(rows, n, k, plain, type);
    });
  }
  void Conv(int64_t in, int64_t out, int64_t groups, Window window,
            int64_t side) {
    Add({1, in, out, groups, window.kernel * 8 + window.stride, side}, true,
        [=, type = type_] {
          return Primitive::Convolution(in, out, groups, window, side, type);
        });
  }
  void Depthwise(int64_t channels, Window window, int64_t side) {
    Conv(channels, channels, channels, window, side);
  }

  int64_t Block(const BlockConfig& b, int64_t side) {
    const Window window = BlockWindow(config_, b);
    const int64_t after = window.Outputs(side);
    switch (b.type) {
      case BlockType::kEdgeResidual:
        Conv(b.in, b.mid, 1, window, side);
        Product(after * after, b.out, b.mid);
        break;
      case BlockType::kInvertedResidual: {
        int64_t mid_side = side;
        if (b.dw_start > 0) {
          const Window start = {b.dw_start, b.start_stride(), config_.padding};
          Depthwise(b.in, start, side);
          mid_side = start.Outputs(side);
        }
        Product(mid_side * mid_side, b.mid, b.in);
        if (b.dw_mid > 0) Depthwise(b.mid, window, mid_side);
        Product(after * after, b.out, b.mid);
        break;
      }
      case BlockType::kAttention: {
        const Window down = {b.kv_kernel, b.kv_stride, config_.padding};
        const int64_t key_side = b.kv_stride > 1 ? down.Outputs(side) : side;
        const int64_t keys = key_side * key_side, pixels = side * side;
        if (b.kv_stride > 1) {
          Depthwise(b.in, down, side);
          Depthwise(b.in, down, side);
        }
        Product(pixels, b.num_heads * b.key_dim, b.in);
        Product(keys, b.key_dim, b.in);
        Product(keys, b.value_dim, b.in);
        Product(pixels * b.num_heads, keys, b.key_dim, true);
        Product(pixels * b.num_heads, b.value_dim, keys, true);
        Product(pixels, b.out, b.num_heads * b.value_dim);
        break;
      }
    }
    return after;
  }

  const VisionConfig& config_;
  const memory::data_type type_;
  std::map<Key, Entry> entries_;
};

void Bench(const std::string& folder, kernels::DType dtype, int64_t side,
           int threads, int rounds) {
  PackDTypes dtypes;
  dtypes.matrices = dtype;
  MakeTowerModel(folder, "e2b+vision", dtypes);
  const auto model = PackedModel::Open(folder, {});
  if (!model.ok()) {
    std::fprintf(stderr, "%s\n", model.status().ToString().c_str());
    std::exit(1);
  }
  const auto weights = (*model)->LoadVision();
  if (!weights.ok()) {
    std::fprintf(stderr, "%s\n", weights.status().ToString().c_str());
    std::exit(1);
  }
  kernels::SetComputeThreads(threads);
  const double before = ResidentMegabytes();
  VisionTower tower(*weights);
  std::vector<float> pixels(side * side * 3);
  for (size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = SynthValue(7, static_cast<uint32_t>(i), 0.5, 0.5);
  }
  const double first = Milliseconds(
      [&] { tower.Encode(side, side, pixels.data()).IgnoreError(); });
  const double weight_mb = static_cast<double>((*model)->vision_bytes()) / 1e6;
  std::printf(
      "weights %.1f MB; first image %.0f ms; activations %.1f MB; resident "
      "%.1f MB more than before, of which all but %.1f MB are weights; peak "
      "%.1f MB\n",
      weight_mb, first, static_cast<double>(tower.ActivationBytes()) / 1e6,
      ResidentMegabytes() - before, ResidentMegabytes() - before - weight_mb,
      PeakMegabytes());

  omp_set_num_threads(threads);
  const Inventory inventory(tower.config(), side,
                            dtype == kernels::DType::kBf16
                                ? memory::data_type::bf16
                                : memory::data_type::f32);
  std::vector<double> times, alone, steps;
  for (int round = 0; round < rounds; ++round) {
    tower.Start(side, side, pixels.data()).IgnoreError();
    double sum = 0;
    for (bool more = true; more;) {
      steps.push_back(Milliseconds([&] { more = tower.Step(); }));
      sum += steps.back();
    }
    times.push_back(sum);
    alone.push_back(inventory.Time());
  }
  std::sort(steps.begin(), steps.end());
  std::printf(
      "tower %.0f ms (best %.0f); its primitives alone %.0f ms (best %.0f): "
      "%.2f times; %zu steps an image, median %.1f ms, longest %.1f ms\n",
      Median(times), *std::min_element(times.begin(), times.end()),
      Median(alone), *std::min_element(alone.begin(), alone.end()),
      Median(times) / Median(alone), steps.size() / rounds, Median(steps),
      steps.back());
}

}  // namespace
}  // namespace lapidary

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr,
                 "vision_bench FOLDER f32|bf16 [SIDE] [THREADS] [ROUNDS]\n");
    return 2;
  }
  const auto number = [&](int i, int fallback) {
    return argc > i ? std::atoi(argv[i]) : fallback;
  };
  lapidary::Bench(argv[1],
                  std::string(argv[2]) == "bf16"
                      ? lapidary::kernels::DType::kBf16
                      : lapidary::kernels::DType::kF32,
                  number(3, 768), number(4, 2), number(5, 3));
  return 0;
}
