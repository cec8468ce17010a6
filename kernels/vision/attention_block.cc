#include "kernels/vision/attention_block.h"

#include <algorithm>
#include <cmath>

#include "kernels/conv/depthwise.h"
#include "kernels/simd/channel_ops.h"
#include "kernels/vision/key_values.h"

namespace lapidary::kernels::vision {
namespace {

// Scores of one piece of a tile: they stay in a core's second cache.
constexpr int64_t kScoreValues = 128 << 10;
constexpr int64_t kScoreRowStep = 32;  // rows of a block of the AMX product

ChannelNorm Norm(const float* weight) {
  return {weight, kTowerEps, Activation::kNone};
}

// All pixels' norms, which the keys' windows overlap on.
Phase NormPhase(const BlockWeights& w, const Map& in, const Map& normed) {
  const Tiles tiles = CutIntoTiles(in.all(), in.channels, DType::kF32);
  Phase phase;
  phase.items = tiles.count();
  phase.macs = in.pixels() * in.channels;
  phase.run = [&w, in, normed, tiles](int64_t item, Lane* /*lane*/) {
    const PixelRange tile = tiles.tile(item);
    NormRows(in.pixel(tile.first), tile.count(), in.channels, Norm(w.norm),
             DType::kF32, normed.pixel(tile.first));
  };
  return phase;
}

// Where the keys and values of a block come from.
struct KeySource {
  Map map;        // the block's input, or with kv_stride its norms
  Window window;  // of the strided depthwise convolution
};

// Inputs of the projection to keys or values, for a tile of keys.
const void* KeyInputs(const BlockWeights& w, const KeySource& source,
                      const WeightMatrix& projection,
                      const DepthwiseWeights& down, PixelRange tile,
                      Lane* lane) {
  const int64_t rows = tile.count(), channels = source.map.channels;
  const DType type = SourceType(FormOf(projection));
  float* x = lane->inputs.Room<float>(rows * channels);
  if (down.weight == nullptr) {
    NormRows(source.map.pixel(tile.first), rows, channels, Norm(w.norm), type,
             x);
  } else {
    Depthwise(source.map.view(), source.window, down.weight, tile, x);
    NormRows(x, rows, channels, Norm(down.norm), type, x);
  }
  return x;
}

Phase KeyPhase(const BlockWeights& w, const KeySource& source,
               const KeyValues& store) {
  const BlockConfig& b = w.config;
  Phase phase;
  phase.items = (store.count() + KeyValues::kTile - 1) / KeyValues::kTile;
  phase.macs = store.count() * b.in * (b.key_dim + b.value_dim);
  phase.run = [&w, source, store](int64_t item, Lane* lane) {
    const PixelRange tile = {
        item * KeyValues::kTile,
        std::min((item + 1) * KeyValues::kTile, store.count())};
    const int64_t rows = tile.count();
    const void* inputs = KeyInputs(w, source, w.key, w.key_down, tile, lane);
    float* out = lane->results.Room<float>(
        rows * std::max(w.config.key_dim, w.config.value_dim));
    lane->products.Multiply(w.key, rows, inputs, out);
    store.StoreKeys(tile.first, rows, out);
    if (w.value_down.weight != nullptr) {
      inputs = KeyInputs(w, source, w.value, w.value_down, tile, lane);
    }
    lane->products.Multiply(w.value, rows, inputs, out);
    store.StoreValues(tile.first, rows, out);
  };
  return phase;
}

// Attention of all heads of a tile's pixels: since heads share keys and values,
// each head of each pixel is a row of its own.
//   queries   [rows][key_dim] of `type`
//   attended  [rows][value_dim] of `type`
void Attend(const BlockConfig& b, const KeyValues& store, int64_t rows,
            DType type, const std::byte* queries, std::byte* attended,
            Lane* lane) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(b.key_dim));
  const int64_t most =
      std::max<int64_t>(kScoreRowStep, kScoreValues / store.count() /
                                           kScoreRowStep * kScoreRowStep);
  for (int64_t first = 0; first < rows; first += most) {
    const int64_t count = std::min(most, rows - first);
    float* scores = lane->scores.Room<float>(count * store.count());
    float* sums = lane->sums.Room<float>(count);
    float* mixed = lane->results.Room<float>(count * b.value_dim);
    store.Score(count, queries + first * b.key_dim * SizeOf(type), scores,
                &lane->products);
    ExpRows(scores, count, store.count(), scale, type, scores, sums);
    store.Mix(count, scores, mixed, &lane->products);
    DivideRows(mixed, count, b.value_dim, sums, type,
               attended + first * b.value_dim * SizeOf(type));
  }
}

Phase QueryPhase(const BlockWeights& w, const Map& in, const Map& out,
                 const KeyValues& store) {
  const BlockConfig& b = w.config;
  const int64_t width = b.num_heads * std::max(b.key_dim, b.value_dim);
  const Tiles tiles = CutIntoTiles(out.all(), std::max(width, b.in),
                                   SourceType(FormOf(w.query)));
  Phase phase;
  phase.items = tiles.count();
  phase.macs = out.pixels() * b.num_heads *
               (b.key_dim * (b.in + store.count()) +
                b.value_dim * (b.out + store.count()));
  phase.run = [&w, in, out, store, tiles](int64_t item, Lane* lane) {
    const BlockConfig& b = w.config;
    const PixelRange tile = tiles.tile(item);
    const int64_t rows = tile.count();
    const DType type = SourceType(FormOf(w.query));
    float* normed = lane->inputs.Room<float>(rows * b.in);
    NormRows(in.pixel(tile.first), rows, b.in, Norm(w.norm), type, normed);
    auto* queries =
        lane->middle.Room<std::byte>(rows * w.query.n() * SizeOf(type));
    lane->products.MultiplyAsSource(w.query, rows, normed, queries);
    auto* attended =
        lane->patches.Room<std::byte>(rows * w.output.k() * SizeOf(type));
    Attend(b, store, rows * b.num_heads, type, queries, attended, lane);
    float* y = lane->results.Room<float>(rows * b.out);
    lane->products.Multiply(w.output, rows, attended, y);
    const float* shortcut = b.skip ? in.pixel(tile.first) : nullptr;
    ScaleRowsAdd(y, rows, b.out, w.gamma, shortcut, out.pixel(tile.first));
  };
  return phase;
}

}  // namespace

void AppendAttention(const VisionConfig& config, const BlockWeights& w,
                     const Map& in, const Map& out, AttentionBuffers* buffers,
                     std::vector<Phase>* plan) {
  const BlockConfig& b = w.config;
  KeySource source = {in, {b.kv_kernel, b.kv_stride, config.padding}};
  int64_t keys = in.pixels();
  if (b.kv_stride > 1) {
    source.map = MakeMap(&buffers->normed, in.height, in.width, in.channels);
    plan->push_back(NormPhase(w, in, source.map));
    keys = source.window.Outputs(in.height) * source.window.Outputs(in.width);
  }
  const KeyValues store(FormOf(w.query), keys, b.key_dim, b.value_dim,
                        &buffers->keys, &buffers->values);
  plan->push_back(KeyPhase(w, source, store));
  plan->push_back(QueryPhase(w, in, out, store));
}

}  // namespace lapidary::kernels::vision
