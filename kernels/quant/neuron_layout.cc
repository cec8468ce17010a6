#include "kernels/quant/neuron_layout.h"

#include <cstring>

#include "kernels/half.h"

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

void StoreNeuronBlock(DType dtype, int64_t width, void* record, int64_t block,
                      const int8_t* codes, uint16_t scale) {
  auto* bytes = static_cast<uint8_t*>(record);
  uint8_t* out = bytes + block * BlockBytes(dtype);
  const int offset = CodeOffset(dtype);
  constexpr int64_t kHalf = kQuantBlock / 2;
  if (dtype == DType::kInt4) {
    for (int64_t i = 0; i < kHalf; ++i) {
      out[i] = static_cast<uint8_t>((codes[i] + offset) |
                                    (codes[i + kHalf] + offset) << 4);
    }
  } else {
    for (int64_t i = 0; i < kQuantBlock; ++i) {
      out[i] = static_cast<uint8_t>(codes[i] + offset);
    }
  }
  std::memcpy(bytes + NeuronCodeBytes(dtype, width) + block * sizeof(scale),
              &scale, sizeof(scale));
}

void DequantizeNeuron(DType dtype, int64_t width, const void* record,
                      float* weights) {
  const auto* bytes = static_cast<const uint8_t*>(record);
  constexpr int64_t kHalf = kQuantBlock / 2;
  for (int64_t i = 0; i < width; ++i) {
    const int64_t block = i / kQuantBlock;
    const int64_t in_block = i % kQuantBlock;
    uint16_t scale;
    std::memcpy(&scale, bytes + NeuronCodeBytes(dtype, width) + block * 2, 2);
    const uint8_t* codes = bytes + block * BlockBytes(dtype);
    const int code = dtype == DType::kInt8 ? codes[in_block]
                     : in_block < kHalf    ? codes[in_block] & 0xF
                                           : codes[in_block - kHalf] >> 4;
    weights[i] =
        HalfToFloat(scale) * static_cast<float>(code - CodeOffset(dtype));
  }
}

}  // namespace lapidary::kernels
