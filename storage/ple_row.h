// One token's row of the per-layer embedding (PLE) table: as it is stored, and
// as it is read.
//
//   f32, bf16   [layers][width], stored and read alike, unscaled
//   int8        stored as [layers] of {f32 scale, [width] codes of ±127}, read
//               as bf16 values scale · code
//
// A layer's numbers have a scale of their own because layers differ in size. It
// costs 0.7 % of their root mean square where they are normally distributed;
// scales for 32 numbers would cost 0.5 % and 4 % more bytes, one for a row 0.9
// % where layers are alike and 3 % where they are not.
#ifndef LAPIDARY_STORAGE_PLE_ROW_H_
#define LAPIDARY_STORAGE_PLE_ROW_H_

#include <cstddef>
#include <cstdint>

#include "kernels/tensor.h"
#include "kernels/text/config.h"

namespace lapidary {

// The table's fixed facts, kept in the packed model's manifest.
struct PleTableShape {
  int64_t tokens = 0;                            // vocab_size_per_layer_input
  int64_t layers = 0;                            // num_hidden_layers
  int64_t width = 0;                             // hidden_size_per_layer_input
  kernels::DType dtype = kernels::DType::kBf16;  // as stored

  // As read.
  kernels::DType row_dtype() const {
    return dtype == kernels::DType::kInt8 ? kernels::DType::kBf16 : dtype;
  }
  size_t RowBytes() const {
    return layers * width * kernels::SizeOf(row_dtype());
  }
  // As stored.
  size_t StoredRowBytes() const {
    return dtype == kernels::DType::kInt8 ? layers * (sizeof(float) + width)
                                          : RowBytes();
  }
};

// Writes a row as it is stored.
//   source  kF32 or kBf16
//   row     [layers][width]
//   stored  StoredRowBytes() bytes
// False if a number is not finite and the dtype cannot hold that.
bool EncodePleRow(const PleTableShape& shape, kernels::DType source,
                  const void* row, char* stored);

// Reads the layers of `range` out of a stored row.
//   stored  StoredRowBytes() bytes, at any address
//   row     [range.count()][width] of row_dtype()
void DecodePleRow(const PleTableShape& shape, kernels::text::LayerRange range,
                  const char* stored, void* row);

}  // namespace lapidary

#endif  // LAPIDARY_STORAGE_PLE_ROW_H_
