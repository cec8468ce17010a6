// The tower's convolutional blocks as phases: the stem, EdgeResidual (er) and
// UniversalInvertedResidual (uir), gemma3n-vision.md §3.4-§3.6.
#ifndef LAPIDARY_KERNELS_VISION_CONV_BLOCKS_H_
#define LAPIDARY_KERNELS_VISION_CONV_BLOCKS_H_

#include <vector>

#include "kernels/vision/phase.h"
#include "kernels/vision/weights.h"

namespace lapidary::kernels::vision {

// Each appends its phases to a plan. Weights and buffers must
// outlive it.

// The window of a block's output pixels, over its input.
Window BlockWindow(const VisionConfig& config, const BlockConfig& block);

//   image  [height][width][3];  out  [h][w][stem_size] of Window{3, 2}
void AppendStem(const VisionWeights& w, const Map& image, const Map& out,
                std::vector<Phase>* plan);

//   in   [h][w][block.in]
//   out  of BlockWindow's size, [block.out]; another buffer than `in`
void AppendEdgeResidual(const VisionConfig& config, const BlockWeights& w,
                        const Map& in, const Map& out,
                        std::vector<Phase>* plan);

//   in, out  as above, but `out` may be `in` where IsPointwise
//   ring     room for the expanded rows that dw_mid reads
void AppendInvertedResidual(const VisionConfig& config, const BlockWeights& w,
                            const Map& in, const Map& out, Buffer* ring,
                            std::vector<Phase>* plan);

// Whether every output pixel depends on the same input pixel alone (and for
// attention on keys and values that are made before).
bool IsPointwise(const BlockConfig& block);

// The last two steps of a tile, which other blocks share: from expanded inputs
// to the product's results.
//   source  [rows] in the product's type, or f32 in `x`: then converted
const void* AsInputs(const WeightMatrix& w, const float* x, int64_t rows,
                     Scratch* room);

}  // namespace lapidary::kernels::vision

#endif  // LAPIDARY_KERNELS_VISION_CONV_BLOCKS_H_
