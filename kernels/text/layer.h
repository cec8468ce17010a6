// One decoder layer, in the order and the words of its specification
// (Gemma3nTextDecoderLayer in Hugging Face).
#ifndef LAPIDARY_KERNELS_TEXT_LAYER_H_
#define LAPIDARY_KERNELS_TEXT_LAYER_H_

#include <cstdint>

#include "kernels/text/model.h"
#include "kernels/text/step.h"
#include "kernels/text/weights.h"

namespace lapidary::kernels::text {

// What a layer has beside its own weights.
struct LayerPlace {
  const TextConfig& config;
  int64_t layer;                       // index in the model
  LayerRange range;                    // of the stage
  const KvLayout& kv_layout;           // of the stage
  const WeightMatrix& ple_projection;  // block of per_layer_model_projection
  const float* ple_norm;               // per_layer_projection_norm
  const LayerWeights* next;            // of the layer behind; null: none here
};

// Runs the layer over the live rows: state->streams in and out.
//
// At the last layer that owns keys and values, a trimmed step drops the rows
// that nobody wants logits of, once their keys and values are made: nothing
// else of them has a reader (state->live_rows and ->embedding shrink).
void RunLayer(const LayerPlace& place, const LayerWeights& w,
              const TextBatch& batch, Step* step, StageState* state);

}  // namespace lapidary::kernels::text

#endif  // LAPIDARY_KERNELS_TEXT_LAYER_H_
