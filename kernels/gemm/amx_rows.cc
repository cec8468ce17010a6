#include "kernels/gemm/amx_rows.h"

#include <algorithm>
#include <cstring>

#include "kernels/simd/channel_ops.h"

namespace lapidary::kernels {
namespace {

// Of a register.
constexpr int64_t kRows = 16;
constexpr int64_t kDepth = 32;
constexpr int64_t kRowBytes = kDepth * 2;
constexpr int64_t kPieceBytes = kRows * kRowBytes;

int64_t BlockBytes(int64_t k) {
  return (k + kDepth - 1) / kDepth * kPieceBytes;
}

}  // namespace

size_t AmxRows::Bytes(int64_t rows, int64_t k) {
  return (rows + kRows - 1) / kRows * BlockBytes(k);
}

AmxRows::AmxRows(int64_t rows, int64_t k, std::byte* data)
    : rows_(rows), k_(k), data_(data) {}

void AmxRows::Put(int64_t row, int64_t column, const float* values,
                  int64_t count) const {
  constexpr int64_t kSome = 256;  // are rounded at once
  alignas(64) uint16_t rounded[kSome];
  std::byte* out = data_ + row / kRows * BlockBytes(k_) +
                   column / kDepth * kPieceBytes + row % kRows * kRowBytes;
  for (int64_t first = 0; first < count; first += kSome) {
    const int64_t some = std::min(kSome, count - first);
    Convert(values + first, some, DType::kBf16, rounded);
    const int64_t whole = (some + kDepth - 1) / kDepth * kDepth;
    std::fill(rounded + some, rounded + whole, uint16_t{0});
    for (int64_t i = 0; i < whole; i += kDepth, out += kPieceBytes) {
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
  inputs.step_bytes = kPieceBytes;
  inputs.block_bytes = BlockBytes(k_);
  inputs.padded = true;
  return inputs;
}

}  // namespace lapidary::kernels
