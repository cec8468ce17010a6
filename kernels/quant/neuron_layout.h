// The order of a quantised matrix whose neurons are used one by one, in memory
// and in the packed model's files: all of a neuron in one piece, so that the
// few neurons that a token needs are all that is read.
//
//   up    [neurons][width]  a record is a row of the matrix
//   down  [width][neurons]  a record is a column
//
// A record is a quantised row (quant_layout.h has what it stands for): codes,
// grids, and the scale in f32. Width is rounded up to 128, a record to a cache
// line.
//
//           codes                                               grids
//   int8    u8  [width]                                         -
//   int4    u4  [blocks][16 bytes], each byte a number i of     u8  [blocks]
//               its block in the low four bits and number
//               i + 16 in the high ones
//
// Four bytes of codes are what four bytes of a row are in quant_layout.h: 16
// records, transposed, are a panel.
#ifndef LAPIDARY_KERNELS_QUANT_NEURON_LAYOUT_H_
#define LAPIDARY_KERNELS_QUANT_NEURON_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "kernels/quant/quant_layout.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// Bytes of a record's codes, of its grids, and of the whole record.
constexpr int64_t NeuronCodeBytes(DType dtype, int64_t width) {
  return QuantRecords(width) * (QuantCodeBytes(dtype) / kQuantPanelRows);
}
constexpr int64_t NeuronGridBytes(DType dtype, int64_t width) {
  return dtype == DType::kInt4 ? QuantRecords(width) * kQuantRecordBlocks : 0;
}
constexpr int64_t NeuronBytes(DType dtype, int64_t width) {
  constexpr int64_t kLine = 64;
  const int64_t bytes = NeuronCodeBytes(dtype, width) +
                        NeuronGridBytes(dtype, width) +
                        static_cast<int64_t>(sizeof(float));
  return (bytes + kLine - 1) / kLine * kLine;
}

// Bytes of a whole matrix; nothing for sizes below 1 or beyond those of any
// model (2^30): sizes may come from a hostile file.
std::optional<size_t> NeuronMatrixBytes(DType dtype, int64_t neurons,
                                        int64_t width);

// A matrix in this layout that somebody else owns, 64-byte aligned.
struct NeuronMatrix {
  DType dtype = DType::kInt8;  // or kInt4
  int64_t neurons = 0;
  int64_t width = 0;
  const std::byte* data = nullptr;

  bool empty() const { return data == nullptr; }
  const std::byte* record(int64_t neuron) const {
    return data + neuron * NeuronBytes(dtype, width);
  }
  float scale(int64_t neuron) const {
    float scale;
    std::memcpy(&scale,
                record(neuron) + NeuronCodeBytes(dtype, width) +
                    NeuronGridBytes(dtype, width),
                sizeof(scale));
    return scale;
  }
  size_t bytes() const { return neurons * NeuronBytes(dtype, width); }
};

// Writes a record.
//   record  NeuronBytes(dtype, width) bytes
void StoreNeuron(DType dtype, int64_t width, void* record,
                 const QuantizedRow& neuron);

// Reads a record back as f32.
//   weights  [width]
void DequantizeNeuron(DType dtype, int64_t width, const void* record,
                      float* weights);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_NEURON_LAYOUT_H_
