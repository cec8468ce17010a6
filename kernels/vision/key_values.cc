#include "kernels/vision/key_values.h"

#include <cstring>

#include "kernels/bf16.h"

namespace lapidary::kernels::vision {
namespace {

// Writes rows [first, last) of the inner dimension of a matrix [n][k] in
// panels, given as its transpose: zero where a row or a column is beyond the
// source's.
//   rows  [count][n]
void PackInnerRows(DType type, const float* rows, int64_t first, int64_t last,
                   int64_t count, int64_t n, int64_t k, std::byte* matrix) {
  const int64_t pair = type == DType::kBf16 ? 2 : 1;
  for (int64_t panel = 0; panel * kPanelRows < n; ++panel) {
    std::byte* at = matrix + panel * PanelBytes(type, k);
    for (int64_t i = first; i < last; ++i) {
      for (int64_t lane = 0; lane < kPanelRows; ++lane) {
        const int64_t column = panel * kPanelRows + lane;
        const bool inside = i - first < count && column < n;
        const float value = inside ? rows[(i - first) * n + column] : 0.0f;
        const int64_t to = (i / pair * kPanelRows + lane) * pair + i % pair;
        if (type == DType::kBf16) {
          reinterpret_cast<uint16_t*>(at)[to] = FloatToBf16(value);
        } else {
          reinterpret_cast<float*>(at)[to] = value;
        }
      }
    }
  }
}

}  // namespace

KeyValues::KeyValues(WeightForm form, int64_t keys, int64_t key_dim,
                     int64_t value_dim, Buffer* key_buffer,
                     Buffer* value_buffer)
    : form_(form),
      keys_(keys),
      key_dim_(key_dim),
      value_dim_(value_dim),
      key_buffer_(key_buffer),
      value_buffer_(value_buffer) {
  const DType type = SourceType(form);
  key_buffer->Reserve(PanelMatrixBytes(type, keys, key_dim));
  value_buffer->Reserve(PanelMatrixBytes(type, value_dim, keys));
}

void KeyValues::StoreKeys(int64_t first, int64_t count,
                          const float* rows) const {
  const DType type = SourceType(form_);
  if (form_ != WeightForm::kPlainF32) {
    PackPanel(DType::kF32, rows, count, key_dim_, type,
              key_buffer_->data + first / kTile * PanelBytes(type, key_dim_));
    return;
  }
  auto* plain = reinterpret_cast<float*>(key_buffer_->data);
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t j = 0; j < key_dim_; ++j) {
      plain[j * keys_ + first + r] = rows[r * key_dim_ + j];
    }
  }
}

void KeyValues::StoreValues(int64_t first, int64_t count,
                            const float* rows) const {
  if (form_ == WeightForm::kPlainF32) {
    std::memcpy(
        reinterpret_cast<float*>(value_buffer_->data) + first * value_dim_,
        rows, count * value_dim_ * sizeof(float));
    return;
  }
  const DType type = SourceType(form_);
  const int64_t last =
      first + count == keys_ ? PaddedPanelDepth(type, keys_) : first + count;
  PackInnerRows(type, rows, first, last, count, value_dim_, keys_,
                value_buffer_->data);
}

void KeyValues::Score(int64_t rows, const void* queries, float* scores,
                      MatMulPrimitives* products) const {
  const int64_t stride = form_ == WeightForm::kPlainF32 ? keys_ : 0;
  products->Execute({rows, keys_, key_dim_, stride, form_}, queries,
                    key_buffer_->data, scores);
}

void KeyValues::Mix(int64_t rows, const void* weights, float* out,
                    MatMulPrimitives* products) const {
  const int64_t stride = form_ == WeightForm::kPlainF32 ? value_dim_ : 0;
  products->Execute({rows, value_dim_, keys_, stride, form_}, weights,
                    value_buffer_->data, out);
}

}  // namespace lapidary::kernels::vision
