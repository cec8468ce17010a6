#include "kernels/quant/quant_layout.h"

#include <algorithm>
#include <cstring>

#include "kernels/half.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kQuadBytes = kQuantPanelRows * 4;
constexpr int64_t kBlockQuads = kQuantBlock / 4;

// Where number `i` of a block lies among the record's codes. The block is the
// record's first or second.
struct CodePlace {
  int64_t byte;
  int shift;
};

CodePlace PlaceOf(DType dtype, int64_t row, int64_t block, int64_t i) {
  const int64_t quad = i / 4;
  const int64_t in_quad = row * 4 + i % 4;
  if (dtype == DType::kInt8) {
    return {(block * kBlockQuads + quad) * kQuadBytes + in_quad, 0};
  }
  constexpr int64_t kHalf = kBlockQuads / 2;
  return {(block * kHalf + quad % kHalf) * kQuadBytes + in_quad,
          quad < kHalf ? 0 : 4};
}

int64_t ScalePlace(DType dtype, int64_t row, int64_t block) {
  return QuantCodeBytes(dtype) + (block * kQuantPanelRows + row) * 2;
}

std::optional<size_t> Times(int64_t count, size_t bytes) {
  size_t product;
  if (count < 1 ||
      __builtin_mul_overflow(static_cast<size_t>(count), bytes, &product)) {
    return std::nullopt;
  }
  return product;
}

}  // namespace

std::optional<size_t> QuantPanelBytes(DType dtype, int64_t k) {
  if (k < 1) return std::nullopt;
  return Times(QuantRecords(k), QuantRecordBytes(dtype));
}

std::optional<size_t> QuantMatrixBytes(DType dtype, int64_t n, int64_t k) {
  const std::optional<size_t> panel = QuantPanelBytes(dtype, k);
  if (!panel.has_value() || n < 1) return std::nullopt;
  return Times(QuantPanels(n), *panel);
}

void StoreQuantBlock(DType dtype, void* panel, int64_t row, int64_t block,
                     const int8_t* codes, uint16_t scale) {
  auto* record = static_cast<uint8_t*>(panel) +
                 block / kQuantRecordBlocks * QuantRecordBytes(dtype);
  const int64_t half = block % kQuantRecordBlocks;
  const int mask = dtype == DType::kInt4 ? 0xF : 0xFF;
  for (int64_t i = 0; i < kQuantBlock; ++i) {
    const CodePlace at = PlaceOf(dtype, row, half, i);
    const int code = codes[i] + CodeOffset(dtype);
    const int others = record[at.byte] & ~(mask << at.shift);
    record[at.byte] = static_cast<uint8_t>(others | code << at.shift);
  }
  std::memcpy(record + ScalePlace(dtype, row, half), &scale, sizeof(scale));
}

void DequantizeRow(DType dtype, const void* matrix, int64_t n, int64_t k,
                   float* row) {
  const int64_t record_bytes = QuantRecordBytes(dtype);
  const auto* record = static_cast<const uint8_t*>(matrix) +
                       n / kQuantPanelRows * QuantRecords(k) * record_bytes;
  const int64_t lane = n % kQuantPanelRows;
  const int mask = dtype == DType::kInt4 ? 0xF : 0xFF;
  for (int64_t first = 0; first < k; first += kQuantBlock) {
    const int64_t half = first / kQuantBlock % kQuantRecordBlocks;
    uint16_t bits;
    std::memcpy(&bits, record + ScalePlace(dtype, lane, half), sizeof(bits));
    const float scale = HalfToFloat(bits);
    const int64_t count = std::min(kQuantBlock, k - first);
    for (int64_t i = 0; i < count; ++i) {
      const CodePlace at = PlaceOf(dtype, lane, half, i);
      const int code = record[at.byte] >> at.shift & mask;
      row[first + i] = scale * static_cast<float>(code - CodeOffset(dtype));
    }
    if (half + 1 == kQuantRecordBlocks) record += record_bytes;
  }
}

}  // namespace lapidary::kernels
