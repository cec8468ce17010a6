#include "kernels/quant/quant_layout.h"

#include <algorithm>
#include <cstring>

namespace lapidary::kernels {
namespace {

constexpr int64_t kQuadBytes = kQuantPanelRows * 4;
constexpr int64_t kBlockQuads = kQuantBlock / 4;

// Where number `i` of a record lies among its codes.
struct CodePlace {
  int64_t byte;
  int shift;
};

CodePlace PlaceOf(DType dtype, int64_t lane, int64_t i) {
  const int64_t quad = i / 4;
  const int64_t in_quad = lane * 4 + i % 4;
  if (dtype == DType::kInt8) return {quad * kQuadBytes + in_quad, 0};
  constexpr int64_t kHalf = kBlockQuads / 2;
  const int64_t block = quad / kBlockQuads, in_block = quad % kBlockQuads;
  return {(block * kHalf + in_block % kHalf) * kQuadBytes + in_quad,
          in_block < kHalf ? 0 : 4};
}

int64_t GridPlace(int64_t lane, int64_t block) {
  return QuantCodeBytes(DType::kInt4) + block * kQuantPanelRows + lane;
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
  std::optional<size_t> bytes = Times(QuantRecords(k), QuantRecordBytes(dtype));
  if (bytes.has_value() &&
      __builtin_add_overflow(*bytes, kQuantPanelScaleBytes, &*bytes)) {
    return std::nullopt;
  }
  return bytes;
}

std::optional<size_t> QuantMatrixBytes(DType dtype, int64_t n, int64_t k) {
  const std::optional<size_t> panel = QuantPanelBytes(dtype, k);
  if (!panel.has_value() || n < 1) return std::nullopt;
  return Times(QuantPanels(n), *panel);
}

void StoreQuantRow(DType dtype, void* panel, int64_t lane,
                   const QuantizedRow& row) {
  auto* bytes = static_cast<uint8_t*>(panel);
  const auto k = static_cast<int64_t>(row.codes.size());
  const int mask = dtype == DType::kInt4 ? 0xF : 0xFF;
  for (int64_t i = 0; i < k; ++i) {
    uint8_t* record = bytes + i / kQuantRecordDepth * QuantRecordBytes(dtype);
    const CodePlace at = PlaceOf(dtype, lane, i % kQuantRecordDepth);
    const int others = record[at.byte] & ~(mask << at.shift);
    record[at.byte] = static_cast<uint8_t>(others | row.codes[i] << at.shift);
  }
  if (dtype == DType::kInt4) {
    for (size_t block = 0; block < row.grids.size(); ++block) {
      bytes[block / kQuantRecordBlocks * QuantRecordBytes(dtype) +
            GridPlace(lane, block % kQuantRecordBlocks)] = row.grids[block];
    }
  }
  const int64_t scales = QuantScaleOffset(dtype, QuantRecords(k));
  std::memcpy(bytes + scales + lane * int64_t{sizeof(float)}, &row.scale,
              sizeof(row.scale));
}

void DequantizeRow(DType dtype, const void* matrix, int64_t n, int64_t k,
                   float* row) {
  const int64_t records = QuantRecords(k);
  const int64_t panel_bytes = QuantPanelSize(dtype, records);
  const auto* panel =
      static_cast<const uint8_t*>(matrix) + n / kQuantPanelRows * panel_bytes;
  const int64_t lane = n % kQuantPanelRows;
  float scale;
  std::memcpy(
      &scale,
      panel + QuantScaleOffset(dtype, records) + lane * int64_t{sizeof(scale)},
      sizeof(scale));
  const int mask = dtype == DType::kInt4 ? 0xF : 0xFF;
  for (int64_t first = 0; first < k; first += kQuantBlock) {
    const uint8_t* record =
        panel + first / kQuantRecordDepth * QuantRecordBytes(dtype);
    const int64_t in_record = first % kQuantRecordDepth;
    const CodeGrid grid =
        dtype == DType::kInt4
            ? UnpackGrid(record[GridPlace(lane, in_record / kQuantBlock)])
            : kInt8Grid;
    const float step = scale * static_cast<float>(grid.multiplier);
    const int64_t count = std::min(kQuantBlock, k - first);
    for (int64_t i = 0; i < count; ++i) {
      const CodePlace at = PlaceOf(dtype, lane, in_record + i);
      const int code = record[at.byte] >> at.shift & mask;
      row[first + i] = step * static_cast<float>(code - grid.zero);
    }
  }
}

}  // namespace lapidary::kernels
