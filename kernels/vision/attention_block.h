// Mobile multi-query attention (mqa) as phases, gemma3n-vision.md §4: keys and
// values of all pixels, then the queries tile by tile.
#ifndef LAPIDARY_KERNELS_VISION_ATTENTION_BLOCK_H_
#define LAPIDARY_KERNELS_VISION_ATTENTION_BLOCK_H_

#include <vector>

#include "kernels/vision/phase.h"
#include "kernels/vision/weights.h"

namespace lapidary::kernels::vision {

struct AttentionBuffers {
  Buffer normed;  // the block's input after its norm, where kv_stride > 1
  Buffer keys, values;
};

// Appends the block to a plan. Weights and buffers must
// outlive it.
//   in, out  [h][w][block.in], [h][w][block.out]; may be the same map
void AppendAttention(const VisionConfig& config, const BlockWeights& w,
                     const Map& in, const Map& out, AttentionBuffers* buffers,
                     std::vector<Phase>* plan);

}  // namespace lapidary::kernels::vision

#endif  // LAPIDARY_KERNELS_VISION_ATTENTION_BLOCK_H_
