// Keys and values of one attention block, in the order in which the products
// with queries and with probabilities want them.
#ifndef LAPIDARY_KERNELS_VISION_KEY_VALUES_H_
#define LAPIDARY_KERNELS_VISION_KEY_VALUES_H_

#include <cstdint>

#include "kernels/gemm/matmul_primitives.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/vision/phase.h"

namespace lapidary::kernels::vision {

class KeyValues {
 public:
  // Keys that Store takes at once.
  static constexpr int64_t kTile = kPanelRows;

  // `form` is that of the block's weights. Reserves room in the buffers.
  KeyValues(WeightForm form, int64_t keys, int64_t key_dim, int64_t value_dim,
            Buffer* key_buffer, Buffer* value_buffer);

  int64_t count() const { return keys_; }

  // Stores keys [first, first + count), first a multiple of kTile, count at
  // most kTile.
  void StoreKeys(int64_t first, int64_t count, const float* rows) const;
  void StoreValues(int64_t first, int64_t count, const float* rows) const;

  // scores[r][key] = queries[r] · key
  //   queries  [rows][key_dim] of SourceType(form)
  void Score(int64_t rows, const void* queries, float* scores,
             MatMulPrimitives* products) const;
  // out[r] = Σ_key weights[r][key] value
  //   weights  [rows][count()] of SourceType(form)
  void Mix(int64_t rows, const void* weights, float* out,
           MatMulPrimitives* products) const;

 private:
  WeightForm form_;
  int64_t keys_, key_dim_, value_dim_;
  Buffer* key_buffer_;
  Buffer* value_buffer_;
};

}  // namespace lapidary::kernels::vision

#endif  // LAPIDARY_KERNELS_VISION_KEY_VALUES_H_
