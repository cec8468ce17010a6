#include "kernels/vision/fusion.h"

#include <algorithm>
#include <cmath>

#include "kernels/simd/channel_ops.h"
#include "kernels/simd/row_ops.h"
#include "kernels/vision/conv_blocks.h"

namespace lapidary::kernels::vision {
namespace {

ChannelNorm Norm(const float* weight,
                 Activation activation = Activation::kNone) {
  return {weight, kTowerEps, activation};
}

// The channels of all features at the pixels of a tile, smaller maps enlarged
// to the nearest pixel.
//   out  [tile][sum of channels] of `type`
void Concatenate(const std::vector<Map>& features, PixelRange tile, DType type,
                 std::byte* out) {
  const Map& first = features.front();
  for (int64_t p = tile.first; p < tile.last; ++p) {
    const int64_t y = p / first.width, x = p % first.width;
    for (const Map& map : features) {
      const int64_t from_y = y * map.height / first.height;
      const int64_t from_x = x * map.width / first.width;
      Convert(map.pixel(from_y * map.width + from_x), map.channels, type, out);
      out += map.channels * SizeOf(type);
    }
  }
}

// out = Σ weight · in[at] over the corners of a cell.
struct Corner {
  int64_t at;
  float weight;
};

// F.interpolate's bilinear sampling of one axis, align_corners = false.
void Sample(int64_t i, int64_t in, int64_t out, Corner corners[2]) {
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  const float place =
      std::max(0.0f, (static_cast<float>(i) + 0.5f) * scale - 0.5f);
  const auto low = std::min(static_cast<int64_t>(place), in - 1);
  const float above = std::min(1.0f, place - static_cast<float>(low));
  corners[0] = {low, 1.0f - above};
  corners[1] = {std::min(low + 1, in - 1), above};
}

// One pooled pixel of a map whose sides are multiples of `side`: the mean of
// its cell.
void PoolMean(const Map& in, int64_t side, int64_t y, int64_t x, float* out) {
  const int64_t rows = in.height / side, columns = in.width / side;
  const float part = 1.0f / static_cast<float>(rows * columns);
  std::fill(out, out + in.channels, 0.0f);
  for (int64_t dy = 0; dy < rows; ++dy) {
    for (int64_t dx = 0; dx < columns; ++dx) {
      const int64_t p = (y * rows + dy) * in.width + x * columns + dx;
      AddScaled(part, in.pixel(p), in.channels, out);
    }
  }
}

void PoolBilinear(const Map& in, int64_t side, int64_t y, int64_t x,
                  float* out) {
  Corner rows[2], columns[2];
  Sample(y, in.height, side, rows);
  Sample(x, in.width, side, columns);
  std::fill(out, out + in.channels, 0.0f);
  for (const Corner& row : rows) {
    for (const Corner& column : columns) {
      AddScaled(row.weight * column.weight,
                in.pixel(row.at * in.width + column.at), in.channels, out);
    }
  }
}

}  // namespace

void AppendFusion(const VisionWeights& w, const std::vector<Map>& features,
                  const Map& out, std::vector<Phase>* plan) {
  const int64_t mid = w.msfa_expand.n();
  const DType type = SourceType(FormOf(w.msfa_expand));
  const Tiles tiles = CutIntoTiles(out.all(), mid, type);
  Phase phase;
  phase.items = tiles.count();
  phase.macs = out.pixels() * mid * (w.msfa_expand.k() + w.msfa_project.n());
  phase.run = [&w, features, out, tiles, type, mid](int64_t item, Lane* lane) {
    const PixelRange tile = tiles.tile(item);
    const int64_t rows = tile.count();
    auto* inputs =
        lane->inputs.Room<std::byte>(rows * w.msfa_expand.k() * SizeOf(type));
    Concatenate(features, tile, type, inputs);
    auto* x = lane->middle.Room<std::byte>(rows * mid * SizeOf(type));
    lane->products.MultiplyAsSource(w.msfa_expand, rows, inputs, x);
    NormTypedRows(type, x, rows, mid,
                  Norm(w.msfa_expand_norm, Activation::kGeluTanh),
                  SourceType(FormOf(w.msfa_project)), x);
    float* y = lane->results.Room<float>(rows * out.channels);
    lane->products.Multiply(w.msfa_project, rows, x, y);
    NormRows(y, rows, out.channels, Norm(w.msfa_project_norm), DType::kF32,
             out.pixel(tile.first));
  };
  plan->push_back(std::move(phase));
}

void AppendPooling(const VisionWeights& w, const Map& fused, const Map& out,
                   std::vector<Phase>* plan) {
  const Tiles tiles = CutIntoTiles(out.all(), out.channels, DType::kF32);
  Phase phase;
  phase.items = tiles.count();
  phase.macs = fused.pixels() * fused.channels;
  phase.run = [&w, fused, out, tiles](int64_t item, Lane* /*lane*/) {
    const PixelRange tile = tiles.tile(item);
    const int64_t side = out.width;
    const bool mean = fused.height % side == 0 && fused.width % side == 0;
    for (int64_t p = tile.first; p < tile.last; ++p) {
      (mean ? PoolMean : PoolBilinear)(fused, side, p / side, p % side,
                                       out.pixel(p));
    }
    NormRows(out.pixel(tile.first), tile.count(), out.channels,
             Norm(w.msfa_norm), DType::kF32, out.pixel(tile.first));
  };
  plan->push_back(std::move(phase));
}

void AppendEmbedder(const VisionWeights& w, const Map& features, const Map& out,
                    std::vector<Phase>* plan) {
  const Tiles tiles = CutIntoTiles(
      out.all(), std::max(features.channels, out.channels), DType::kF32);
  Phase phase;
  phase.items = tiles.count();
  phase.macs = out.pixels() * features.channels * out.channels;
  phase.run = [&w, features, out, tiles](int64_t item, Lane* lane) {
    const PixelRange tile = tiles.tile(item);
    const int64_t rows = tile.count(), hidden = features.channels;
    const float eps = w.config.rms_norm_eps;
    const DType type = SourceType(FormOf(w.embedding_projection));
    float* x = lane->inputs.Room<float>(rows * hidden);
    Scale(std::sqrt(static_cast<float>(hidden)), features.pixel(tile.first),
          rows * hidden, x);
    NormRows(x, rows, hidden, {w.soft_embedding_norm, eps, Activation::kNone},
             type, x);
    float* y = out.pixel(tile.first);
    lane->products.Multiply(w.embedding_projection, rows, x, y);
    NormRows(y, rows, out.channels, {nullptr, eps, Activation::kNone},
             DType::kF32, y);
  };
  plan->push_back(std::move(phase));
}

}  // namespace lapidary::kernels::vision
