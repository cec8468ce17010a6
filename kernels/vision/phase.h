// What the forward pass of the tower is cut into, and the memory that it runs
// in.
//
// A phase is work on all pixels of a map, cut into items (tiles of pixels) that
// any lane may do in any order; the next phase needs all of them. A lane is one
// compute thread with its own primitives and scratch memory, so that what a
// tile goes through between two maps stays in that thread's cache.
#ifndef LAPIDARY_KERNELS_VISION_PHASE_H_
#define LAPIDARY_KERNELS_VISION_PHASE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/conv/window.h"
#include "kernels/gemm/matmul_primitives.h"
#include "kernels/scratch.h"
#include "kernels/tensor.h"

namespace lapidary::kernels::vision {

struct Lane {
  MatMulPrimitives products;
  Scratch inputs;   // of a product, in its type
  Scratch patches;  // of a dense convolution
  Scratch middle;   // between two products
  Scratch results;  // of the last product
  Scratch scores;   // of attention
  Scratch sums;

  size_t bytes() const {
    size_t bytes = products.bytes();
    for (const Scratch* s :
         {&inputs, &patches, &middle, &results, &scores, &sums}) {
      bytes += s->bytes();
    }
    return bytes;
  }
};

// Memory of the plan, which several maps may use one after the other. Its place
// is known when the whole plan is.
struct Buffer {
  size_t bytes = 0;
  std::byte* data = nullptr;

  void Reserve(size_t wanted) { bytes = std::max(bytes, wanted); }
};

// A map in a buffer: f32 [height][width][channels].
struct Map {
  Buffer* buffer = nullptr;
  int64_t height = 0, width = 0, channels = 0;

  int64_t pixels() const { return height * width; }
  float* data() const { return reinterpret_cast<float*>(buffer->data); }
  float* pixel(int64_t p) const { return data() + p * channels; }
  MapView view() const { return {data(), height, width, channels}; }
  PixelRange all() const { return {0, pixels()}; }
};

inline Map MakeMap(Buffer* buffer, int64_t height, int64_t width,
                   int64_t channels) {
  buffer->Reserve(height * width * channels * sizeof(float));
  return {buffer, height, width, channels};
}

struct Phase {
  int64_t items = 0;
  int64_t macs = 0;  // multiply-adds of all items, roughly
  std::function<void(int64_t item, Lane* lane)> run;
  // Of the block that the phase ends, and what it made; for tests.
  std::string block_done;
  Map result;
};

// Cuts a range of pixels into tiles.
struct Tiles {
  PixelRange range;
  int64_t each = 1;  // pixels of all but the last

  int64_t count() const { return (range.count() + each - 1) / each; }
  PixelRange tile(int64_t i) const {
    const int64_t first = range.first + i * each;
    return {first, std::min(first + each, range.last)};
  }
};

// Tiles of pixels that have `width` values of `type` at most between two maps:
// as many as a core's second cache holds beside the rest, since weights are
// read once for each tile, and an even number of tiles, for two lanes, as far
// as whole blocks of the product give one. Not for as many lanes as there are:
// a result must not depend on that.
//   range  not empty
inline Tiles CutIntoTiles(PixelRange range, int64_t width, DType type) {
  constexpr int64_t kTileBytes = 768 << 10;
  constexpr int64_t kMinPixels = 64, kMaxPixels = 128;
  constexpr int64_t kStep = 32;  // rows of a block of the AMX product
  const int64_t most =
      std::clamp(kTileBytes / (width * static_cast<int64_t>(SizeOf(type))),
                 kMinPixels, kMaxPixels);
  const int64_t tiles = (range.count() + most - 1) / most;
  const int64_t even = (tiles + 1) / 2 * 2;
  const int64_t each = (range.count() + even - 1) / even;
  return {range, (each + kStep - 1) / kStep * kStep};
}

}  // namespace lapidary::kernels::vision

#endif  // LAPIDARY_KERNELS_VISION_PHASE_H_
