#include "kernels/quant/neuron_layout.h"

#include <algorithm>
#include <cstring>

namespace lapidary::kernels {
namespace {

constexpr int64_t kMaxSize = int64_t{1} << 30;

// Bytes of a block's codes.
int64_t BlockBytes(DType dtype) {
  return dtype == DType::kInt4 ? kQuantBlock / 2 : kQuantBlock;
}

}  // namespace

std::optional<size_t> NeuronMatrixBytes(DType dtype, int64_t neurons,
                                        int64_t width) {
  if (neurons < 1 || neurons > kMaxSize || width < 1 || width > kMaxSize) {
    return std::nullopt;
  }
  return static_cast<size_t>(neurons) * NeuronBytes(dtype, width);
}

void StoreNeuron(DType dtype, int64_t width, void* record,
                 const QuantizedRow& neuron) {
  auto* out = static_cast<uint8_t*>(record);
  const auto codes = static_cast<int64_t>(neuron.codes.size());
  if (dtype == DType::kInt8) {
    std::copy(neuron.codes.begin(), neuron.codes.end(), out);
  } else {
    constexpr int64_t kHalf = kQuantBlock / 2;
    for (int64_t first = 0; first < codes; first += kQuantBlock) {
      const uint8_t* in = &neuron.codes[first];
      for (int64_t i = 0; i < kHalf; ++i) {
        out[first / 2 + i] = static_cast<uint8_t>(in[i] | in[i + kHalf] << 4);
      }
    }
    std::copy(neuron.grids.begin(), neuron.grids.end(),
              out + NeuronCodeBytes(dtype, width));
  }
  std::memcpy(
      out + NeuronCodeBytes(dtype, width) + NeuronGridBytes(dtype, width),
      &neuron.scale, sizeof(neuron.scale));
}

void DequantizeNeuron(DType dtype, int64_t width, const void* record,
                      float* weights) {
  const auto* codes = static_cast<const uint8_t*>(record);
  const uint8_t* grids = codes + NeuronCodeBytes(dtype, width);
  float scale;
  std::memcpy(&scale, grids + NeuronGridBytes(dtype, width), sizeof(scale));
  constexpr int64_t kHalf = kQuantBlock / 2;
  for (int64_t i = 0; i < width; ++i) {
    const int64_t block = i / kQuantBlock, in_block = i % kQuantBlock;
    const CodeGrid grid =
        dtype == DType::kInt4 ? UnpackGrid(grids[block]) : kInt8Grid;
    const uint8_t* of_block = codes + block * BlockBytes(dtype);
    const int code = dtype == DType::kInt8 ? of_block[in_block]
                     : in_block < kHalf    ? of_block[in_block] & 0xF
                                           : of_block[in_block - kHalf] >> 4;
    weights[i] = scale * static_cast<float>(grid.multiplier) *
                 static_cast<float>(code - grid.zero);
  }
}

}  // namespace lapidary::kernels
