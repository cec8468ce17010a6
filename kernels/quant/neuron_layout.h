// The order of a block-quantised matrix whose neurons are used one by one, in
// memory and in the packed model's files: all of a neuron in one piece, so that
// the few neurons that a token needs are all that is read.
//
//   up    [neurons][width]  a record is a row of the matrix
//   down  [width][neurons]  a record is a column
//
// A record has the codes of the neuron's numbers and then their scales. Every
// 32 numbers are a block and share a scale: weight = scale · (code - offset),
// as in quant_layout.h. Width is rounded up to 64, a record to a cache line.
//
//           offset   codes                                    scales
//   int8    128      u8  [width]                              fp16 [blocks]
//   int4    8        u4  [blocks][16 bytes], each byte a      fp16 [blocks]
//                    number i of its block in the low four
//                    bits and number i + 16 in the high ones
//
// Four bytes of codes are what four bytes of a row are in quant_layout.h: 16
// records, transposed, are a panel.
#ifndef LAPIDARY_KERNELS_QUANT_NEURON_LAYOUT_H_
#define LAPIDARY_KERNELS_QUANT_NEURON_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernels/quant/quant_layout.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

// Bytes of a record's codes, and of the whole record.
constexpr int64_t NeuronCodeBytes(DType dtype, int64_t width) {
  return QuantRecords(width) * (QuantCodeBytes(dtype) / kQuantPanelRows);
}
constexpr int64_t NeuronBytes(DType dtype, int64_t width) {
  constexpr int64_t kLine = 64;
  const int64_t scales = QuantRecords(width) * kQuantRecordBlocks * 2;
  return (NeuronCodeBytes(dtype, width) + scales + kLine - 1) / kLine * kLine;
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
  size_t bytes() const { return neurons * NeuronBytes(dtype, width); }
};

// Writes the codes and the scale of one block.
//   record  NeuronBytes(dtype, width) bytes
//   block   number of the block in the record
//   codes   [32]  weights in units of the scale: int8 ±127, int4 -8 … 7
void StoreNeuronBlock(DType dtype, int64_t width, void* record, int64_t block,
                      const int8_t* codes, uint16_t scale);

// Reads a record back as f32.
//   weights  [width]
void DequantizeNeuron(DType dtype, int64_t width, const void* record,
                      float* weights);

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_NEURON_LAYOUT_H_
