// A row of weights as codes and what they stand for, in no layout's order yet.
#ifndef LAPIDARY_KERNELS_QUANT_QUANTIZED_ROW_H_
#define LAPIDARY_KERNELS_QUANT_QUANTIZED_ROW_H_

#include <cstdint>
#include <vector>

#include "kernels/tensor.h"

namespace lapidary::kernels {

// Numbers of a row that share a grid.
inline constexpr int64_t kQuantBlock = 32;

// Numbers of a row that a record of it has, which is also how many activations
// share a scale.
inline constexpr int64_t kQuantRecordDepth = 128;
inline constexpr int64_t kQuantRecordBlocks = kQuantRecordDepth / kQuantBlock;

constexpr bool IsQuantized(DType dtype) {
  return dtype == DType::kInt8 || dtype == DType::kInt4;
}

// Records that hold k numbers.
constexpr int64_t QuantRecords(int64_t k) {
  return k / kQuantRecordDepth + (k % kQuantRecordDepth != 0);
}

// The integers that a block's codes stand for: multiplier · (code - zero).
struct CodeGrid {
  int multiplier = 1;
  int zero = 128;
};

inline constexpr CodeGrid kInt8Grid = {1, 128};

// An int4 block's grid as the byte that is stored.
constexpr uint8_t PackGrid(CodeGrid grid) {
  return static_cast<uint8_t>((8 - grid.zero) << 7 | grid.multiplier);
}
constexpr CodeGrid UnpackGrid(uint8_t byte) {
  return {byte & 0xF, 8 - (byte >> 7)};
}

struct QuantizedRow {
  explicit QuantizedRow(int64_t k)
      : codes(QuantRecords(k) * kQuantRecordDepth),
        grids(QuantRecords(k) * kQuantRecordBlocks) {}

  float scale = 0;
  std::vector<uint8_t> codes;  // a byte each, in int4 too
  std::vector<uint8_t> grids;  // int4: packed; int8: unused
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_QUANTIZED_ROW_H_
