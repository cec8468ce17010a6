#include "storage/ple_row.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/bf16.h"

namespace lapidary {
namespace {

using kernels::Bf16ToFloat;
using kernels::DType;
using kernels::FloatToBf16;

constexpr float kLargestCode = 127;

float Element(DType source, const void* row, int64_t index) {
  return source == DType::kBf16
             ? Bf16ToFloat(static_cast<const uint16_t*>(row)[index])
             : static_cast<const float*>(row)[index];
}

// One layer's scale and codes.
bool EncodeLayer(const float* values, int64_t width, char* stored) {
  float peak = 0;
  for (int64_t i = 0; i < width; ++i) {
    if (!std::isfinite(values[i])) return false;
    peak = std::max(peak, std::fabs(values[i]));
  }
  // Infinite for zeros, and for numbers so tiny that they count as such.
  const float inverse = kLargestCode / peak;
  const float scale = std::isfinite(inverse) ? peak / kLargestCode : 0;
  std::memcpy(stored, &scale, sizeof(scale));
  auto* codes = reinterpret_cast<int8_t*>(stored + sizeof(scale));
  for (int64_t i = 0; i < width; ++i) {
    codes[i] = scale == 0
                   ? 0
                   : static_cast<int8_t>(std::nearbyint(values[i] * inverse));
  }
  return true;
}

void DecodeLayer(const char* stored, int64_t width, uint16_t* row) {
  float scale;
  std::memcpy(&scale, stored, sizeof(scale));
  const auto* codes = reinterpret_cast<const int8_t*>(stored + sizeof(scale));
  for (int64_t i = 0; i < width; ++i) {
    row[i] = FloatToBf16(scale * static_cast<float>(codes[i]));
  }
}

}  // namespace

bool EncodePleRow(const PleTableShape& shape, DType source, const void* row,
                  char* stored) {
  const int64_t columns = shape.layers * shape.width;
  if (source == shape.dtype) {
    std::memcpy(stored, row, shape.StoredRowBytes());
    return true;
  }
  std::vector<float> values(columns);
  for (int64_t i = 0; i < columns; ++i) values[i] = Element(source, row, i);
  switch (shape.dtype) {
    case DType::kF32:
      std::memcpy(stored, values.data(), columns * sizeof(float));
      return true;
    case DType::kBf16:
      for (int64_t i = 0; i < columns; ++i) {
        const uint16_t bits = FloatToBf16(values[i]);
        std::memcpy(stored + i * sizeof(bits), &bits, sizeof(bits));
      }
      return true;
    default:
      break;
  }
  const int64_t layer_bytes = shape.StoredRowBytes() / shape.layers;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    if (!EncodeLayer(&values[layer * shape.width], shape.width,
                     stored + layer * layer_bytes)) {
      return false;
    }
  }
  return true;
}

void DecodePleRow(const PleTableShape& shape, kernels::text::LayerRange range,
                  const char* stored, void* row) {
  const int64_t layer_bytes = shape.StoredRowBytes() / shape.layers;
  const char* first = stored + range.first * layer_bytes;
  if (shape.dtype != DType::kInt8) {
    std::memcpy(row, first, range.count() * layer_bytes);
    return;
  }
  auto* out = static_cast<uint16_t*>(row);
  for (int64_t layer = 0; layer < range.count(); ++layer) {
    DecodeLayer(first + layer * layer_bytes, shape.width,
                out + layer * shape.width);
  }
}

}  // namespace lapidary
