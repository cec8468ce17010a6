#include "kernels/gemm/amx_rows.h"

#include <algorithm>
#include <cstring>

#include "kernels/simd/channel_ops.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kRowBytes = kAmxColumns * 2;
constexpr int64_t kTileBytes = kAmxRows * kRowBytes;

// Of all tiles of kAmxRows rows.
int64_t RowsBytes(int64_t k) {
  return (k + kAmxColumns - 1) / kAmxColumns * kTileBytes;
}

}  // namespace

size_t AmxRows::Bytes(int64_t rows, int64_t k) {
  return (rows + kAmxRows - 1) / kAmxRows * RowsBytes(k);
}

AmxRows::AmxRows(int64_t rows, int64_t k, std::byte* data)
    : rows_(rows), k_(k), data_(data) {}

void AmxRows::Put(int64_t row, int64_t column, const float* values,
                  int64_t count) const {
  constexpr int64_t kSome = 256;  // are rounded at once
  alignas(64) uint16_t rounded[kSome];
  std::byte* out = data_ + row / kAmxRows * RowsBytes(k_) +
                   column / kAmxColumns * kTileBytes +
                   row % kAmxRows * kRowBytes;
  for (int64_t first = 0; first < count; first += kSome) {
    const int64_t some = std::min(kSome, count - first);
    Convert(values + first, some, DType::kBf16, rounded);
    const int64_t whole = (some + kAmxColumns - 1) / kAmxColumns * kAmxColumns;
    std::fill(rounded + some, rounded + whole, uint16_t{0});
    for (int64_t i = 0; i < whole; i += kAmxColumns, out += kTileBytes) {
      std::memcpy(out, rounded + i, kRowBytes);
    }
  }
}

AmxInputs AmxRows::inputs() const {
  AmxInputs inputs;
  inputs.data = data_;
  inputs.rows = rows_;
  inputs.k = k_;
  inputs.row_bytes = kRowBytes;
  inputs.columns_bytes = kTileBytes;
  inputs.rows_bytes = RowsBytes(k_);
  inputs.padded = true;
  return inputs;
}

}  // namespace lapidary::kernels
