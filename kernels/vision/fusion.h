// How the tower ends: the multi-scale fusion adapter (MSFA) and the embedder,
// as phases (gemma3n-vision.md §5, §7).
#ifndef LAPIDARY_KERNELS_VISION_FUSION_H_
#define LAPIDARY_KERNELS_VISION_FUSION_H_

#include <vector>

#include "kernels/vision/phase.h"
#include "kernels/vision/weights.h"

namespace lapidary::kernels::vision {

// Each appends its phases to a plan. Weights and buffers must
// outlive it.

// The fused map, at the first feature's resolution, before pooling.
//   features  in the order of config.msfa_features
//   out       [h][w][hidden_size] of the first feature's h and w
void AppendFusion(const VisionWeights& w, const std::vector<Map>& features,
                  const Map& out, std::vector<Phase>* plan);

// Pools to the output resolution and norms: the tower's features.
//   out  [resolution][resolution][hidden_size]
void AppendPooling(const VisionWeights& w, const Map& fused, const Map& out,
                   std::vector<Phase>* plan);

// Soft tokens of the tower's features.
//   out  [resolution][resolution][text_hidden_size]
void AppendEmbedder(const VisionWeights& w, const Map& features, const Map& out,
                    std::vector<Phase>* plan);

}  // namespace lapidary::kernels::vision

#endif  // LAPIDARY_KERNELS_VISION_FUSION_H_
