// Which layers of a stage keep keys and values, and how many.
#ifndef LAPIDARY_KERNELS_TEXT_KV_LAYOUT_H_
#define LAPIDARY_KERNELS_TEXT_KV_LAYOUT_H_

#include "kernels/attention/kv_cache.h"
#include "kernels/tensor.h"
#include "kernels/text/config.h"

namespace lapidary::kernels::text {

// The layers of `range` that own keys and values, and the donors before it that
// the range's KV-shared layers read. Sliding layers keep a ring of
// sliding_window slots.
//   dtype  of the cache: kF32 or kBf16
KvLayout KvLayoutFor(const TextConfig& config, LayerRange range, DType dtype);

}  // namespace lapidary::kernels::text

#endif  // LAPIDARY_KERNELS_TEXT_KV_LAYOUT_H_
