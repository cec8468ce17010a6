#include "kernels/vision/conv_blocks.h"

#include "kernels/conv/depthwise.h"
#include "kernels/conv/patches.h"
#include "kernels/simd/channel_ops.h"

namespace lapidary::kernels::vision {
namespace {

constexpr Window kStemWindow = {3, 2};

ChannelNorm Gelu(const float* weight) {
  return {weight, kTowerEps, Activation::kGeluTanh};
}
ChannelNorm Plain(const float* weight) {
  return {weight, kTowerEps, Activation::kNone};
}

DType InputType(const WeightMatrix& w) { return SourceType(FormOf(w)); }

// rows · k values in the type of the product's inputs.
void* InputRoom(const WeightMatrix& w, int64_t rows, Scratch* room) {
  return room->Room<std::byte>(rows * w.k() * SizeOf(InputType(w)));
}

// The windows of a convolution, for its product.
const void* Windows(const WeightMatrix& w, const MapView& in,
                    const Window& window, PixelRange tile, Lane* lane) {
  void* patches = InputRoom(w, tile.count(), &lane->patches);
  GatherPatches(in, window, tile, InputType(w), patches);
  return patches;
}

// An expansion, in the type of the next product's inputs: bf16 is half the
// memory to write and to read again for the norm.
void* Expanded(const WeightMatrix& w, const void* inputs, int64_t rows,
               Lane* lane) {
  auto* out = lane->middle.Room<std::byte>(rows * w.n() * SizeOf(InputType(w)));
  lane->products.MultiplyAsSource(w, rows, inputs, out);
  return out;
}

// x → RMS → gelu → pw_proj (or conv_pwl) → RMS ⊙ gamma → + shortcut: how er and
// uir end.
//   x  [tile][mid] of `type` in lane->middle, overwritten
void Project(const BlockWeights& w, DType type, void* x, PixelRange tile,
             const float* norm_before, const float* shortcut, float* out,
             Lane* lane) {
  const int64_t rows = tile.count();
  NormTypedRows(type, x, rows, w.config.mid, Gelu(norm_before),
                InputType(w.project), x);
  float* y = lane->results.Room<float>(rows * w.config.out);
  lane->products.Multiply(w.project, rows, x, y);
  NormRowsAdd(y, rows, w.config.out, Plain(w.project_scale()), shortcut, out);
}

// pw_exp's product for a tile, dw_start before it if there is one.
void* Expand(const BlockWeights& w, const Window& start, const Map& in,
             PixelRange tile, Lane* lane) {
  const int64_t rows = tile.count();
  const void* inputs = nullptr;
  if (w.dw_start.weight != nullptr) {
    float* a = lane->inputs.Room<float>(rows * in.channels);
    Depthwise(in.view(), start, w.dw_start.weight, tile, a);
    NormRows(a, rows, in.channels, Plain(w.dw_start.norm), InputType(w.expand),
             a);
    inputs = a;
  } else {
    inputs = AsInputs(w.expand, in.pixel(tile.first), rows, &lane->inputs);
  }
  return Expanded(w.expand, inputs, rows, lane);
}

// A uir without dw_mid: one phase, tile by tile.
void AppendSimple(const BlockWeights& w, const Window& start, const Map& in,
                  const Map& out, std::vector<Phase>* plan) {
  const BlockConfig& b = w.config;
  const Tiles tiles =
      CutIntoTiles(out.all(), std::max(b.mid, b.out), InputType(w.expand));
  Phase phase;
  phase.items = tiles.count();
  phase.macs = out.pixels() * b.mid * (b.in + b.out);
  phase.run = [&w, start, in, out, tiles](int64_t item, Lane* lane) {
    const PixelRange tile = tiles.tile(item);
    void* x = Expand(w, start, in, tile, lane);
    const float* shortcut = w.config.skip ? in.pixel(tile.first) : nullptr;
    Project(w, InputType(w.expand), x, tile, w.expand_norm, shortcut,
            out.pixel(tile.first), lane);
  };
  plan->push_back(std::move(phase));
}

// A uir with dw_mid, which reads several expanded rows: bands of output rows,
// each a phase that expands the rows it adds to a ring and one that reads them.
class MidBands {
 public:
  MidBands(const BlockWeights& w, Window start, Window mid, const Map& in,
           const Map& out, Buffer* ring)
      : w_(w), start_(start), mid_(mid), in_(in), out_(out) {
    band_ = std::min(out.height, kBandRows);
    const int64_t rows =
        std::min((band_ - 1) * mid.stride + mid.kernel, in.height);
    ring_ = MakeMap(ring, rows, in.width, w.config.mid);
  }

  void Append(std::vector<Phase>* plan) {
    int64_t expanded = 0;
    for (int64_t first = 0; first < out_.height; first += band_) {
      const int64_t last = std::min(first + band_, out_.height);
      const int64_t reads =
          (last - 1) * mid_.stride - mid_.Before(in_.height) + mid_.kernel;
      const int64_t until = std::clamp(reads, expanded, in_.height);
      if (until > expanded) AppendExpand(expanded, until, plan);
      expanded = until;
      AppendProject(first, last, plan);
    }
  }

 private:
  static constexpr int64_t kBandRows = 16;

  void AppendExpand(int64_t first, int64_t last, std::vector<Phase>* plan) {
    const BlockConfig& b = w_.config;
    // Tiles end where rows do: in the ring, neighbours may lie apart.
    const int64_t rows = last - first;
    const int64_t about = std::max<int64_t>(1, in_.width / kRowPiece);
    const int64_t each = (in_.width + about - 1) / about;
    const int64_t pieces = Tiles{{0, in_.width}, each}.count();
    Phase phase;
    phase.items = rows * pieces;
    phase.macs = rows * in_.width * b.in * b.mid;
    phase.run = [&w = w_, start = start_, in = in_, ring = ring_, first, pieces,
                 each](int64_t item, Lane* lane) {
      const int64_t y = first + item / pieces;
      const Tiles row = {{y * in.width, (y + 1) * in.width}, each};
      const PixelRange tile = row.tile(item % pieces);
      const void* x = Expand(w, start, in, tile, lane);
      const int64_t place = y % ring.height * in.width + tile.first % in.width;
      NormTypedRows(InputType(w.expand), x, tile.count(), w.config.mid,
                    Gelu(w.expand_norm), DType::kF32, ring.pixel(place));
    };
    plan->push_back(std::move(phase));
  }

  void AppendProject(int64_t first, int64_t last, std::vector<Phase>* plan) {
    const BlockConfig& b = w_.config;
    const Tiles tiles = CutIntoTiles({first * out_.width, last * out_.width},
                                     std::max(b.mid, b.out), DType::kF32);
    Phase phase;
    phase.items = tiles.count();
    phase.macs =
        tiles.range.count() * b.mid * (b.out + mid_.kernel * mid_.kernel);
    phase.run = [&w = w_, mid = mid_, in = in_, out = out_, ring = ring_,
                 tiles](int64_t item, Lane* lane) {
      const PixelRange tile = tiles.tile(item);
      MapView rows = ring.view();
      rows.height = in.height;
      float* x = lane->middle.Room<float>(tile.count() * w.config.mid);
      Depthwise(rows, mid, w.dw_mid.weight, tile, x);
      const float* shortcut = w.config.skip ? in.pixel(tile.first) : nullptr;
      Project(w, DType::kF32, x, tile, w.dw_mid.norm, shortcut,
              out.pixel(tile.first), lane);
    };
    plan->push_back(std::move(phase));
  }

  // Pixels of a row that make a tile, about.
  static constexpr int64_t kRowPiece = 96;

  const BlockWeights& w_;
  const Window start_, mid_;
  const Map in_, out_;
  Map ring_;
  int64_t band_ = 0;
};

}  // namespace

const void* AsInputs(const WeightMatrix& w, const float* x, int64_t rows,
                     Scratch* room) {
  const DType type = InputType(w);
  if (type == DType::kF32) return x;
  void* inputs = InputRoom(w, rows, room);
  Convert(x, rows * w.k(), type, inputs);
  return inputs;
}

bool IsPointwise(const BlockConfig& block) {
  switch (block.type) {
    case BlockType::kEdgeResidual:
      return false;
    case BlockType::kInvertedResidual:
      return block.dw_start == 0 && block.dw_mid == 0;
    case BlockType::kAttention:
      return true;
  }
  return false;
}

Window BlockWindow(const VisionConfig& config, const BlockConfig& block) {
  switch (block.type) {
    case BlockType::kEdgeResidual:
      return {block.exp_kernel, block.stride, config.padding};
    case BlockType::kInvertedResidual:
      if (block.dw_mid > 0) return {block.dw_mid, block.stride, config.padding};
      if (block.dw_start > 0) {
        return {block.dw_start, block.stride, config.padding};
      }
      break;
    case BlockType::kAttention:
      break;
  }
  return {1, 1, config.padding};
}

void AppendStem(const VisionWeights& w, const Map& image, const Map& out,
                std::vector<Phase>* plan) {
  Window window = kStemWindow;
  window.padding = w.config.padding;
  const Tiles tiles = CutIntoTiles(out.all(), w.config.stem_size, DType::kF32);
  Phase phase;
  phase.items = tiles.count();
  phase.macs = out.pixels() * w.conv_stem.n() * w.conv_stem.k();
  phase.run = [&w, window, image, out, tiles](int64_t item, Lane* lane) {
    const PixelRange tile = tiles.tile(item);
    const int64_t rows = tile.count(), channels = out.channels;
    const void* windows =
        Windows(w.conv_stem, image.view(), window, tile, lane);
    float* x = lane->results.Room<float>(rows * channels);
    lane->products.Multiply(w.conv_stem, rows, windows, x);
    if (w.stem_bias != nullptr) AddBias(w.stem_bias, rows, channels, x);
    NormRows(x, rows, channels, Gelu(w.stem_norm), DType::kF32,
             out.pixel(tile.first));
  };
  plan->push_back(std::move(phase));
}

void AppendEdgeResidual(const VisionConfig& config, const BlockWeights& w,
                        const Map& in, const Map& out,
                        std::vector<Phase>* plan) {
  const Window window = BlockWindow(config, w.config);
  const Tiles tiles = CutIntoTiles(
      out.all(), std::max(w.expand.k(), w.config.mid), InputType(w.expand));
  Phase phase;
  phase.items = tiles.count();
  phase.macs = out.pixels() * w.config.mid * (w.expand.k() + w.config.out);
  phase.run = [&w, window, in, out, tiles](int64_t item, Lane* lane) {
    const PixelRange tile = tiles.tile(item);
    const void* windows = Windows(w.expand, in.view(), window, tile, lane);
    void* x = Expanded(w.expand, windows, tile.count(), lane);
    const float* shortcut = w.config.skip ? in.pixel(tile.first) : nullptr;
    Project(w, InputType(w.expand), x, tile, w.expand_norm, shortcut,
            out.pixel(tile.first), lane);
  };
  plan->push_back(std::move(phase));
}

void AppendInvertedResidual(const VisionConfig& config, const BlockWeights& w,
                            const Map& in, const Map& out, Buffer* ring,
                            std::vector<Phase>* plan) {
  const BlockConfig& b = w.config;
  const Window start = {b.dw_start, b.start_stride(), config.padding};
  if (b.dw_mid == 0) {
    AppendSimple(w, start, in, out, plan);
    return;
  }
  const Window mid = {b.dw_mid, b.stride, config.padding};
  MidBands(w, start, mid, in, out, ring).Append(plan);
}

}  // namespace lapidary::kernels::vision
