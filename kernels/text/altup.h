// AltUp: the residual stream of Gemma 3n is several streams wide, of which a
// layer computes one and predicts and corrects the others
// (Gemma3nTextAltUp in Hugging Face; Alternating Updates, arXiv:2301.13310).
//
// Streams are held as [altup_num_inputs][rows][hidden].
#ifndef LAPIDARY_KERNELS_TEXT_ALTUP_H_
#define LAPIDARY_KERNELS_TEXT_ALTUP_H_

#include <cstdint>
#include <vector>

#include "kernels/gemm/weight_matrix.h"
#include "kernels/tensor.h"
#include "kernels/text/config.h"
#include "kernels/text/weights.h"

namespace lapidary::kernels::text {

struct StreamsView {
  float* data = nullptr;
  int64_t streams = 0;
  int64_t rows = 0;
  int64_t hidden = 0;

  MatrixView stream(int64_t i) const {
    return {data + i * rows * hidden, rows, hidden};
  }
};

// Widens the input embedding to the streams: stream 0 is the embedding, stream
// i its projection altup_projections[i-1], scaled to the embedding's root mean
// square.
//   embedding  [rows][hidden]
//   projected  scratch, [GemmCapacity(rows)][hidden]
void InitStreams(const std::vector<WeightMatrix>& altup_projections,
                 ConstMatrixView embedding, MatrixView projected,
                 StreamsView streams, GemmContext* gemm);

// Each stream as the layer will find it, predicted from all of them with
// coefficients that the router reads off the active one (Altup.predict):
//   predicted_i = stream_i + Σ_j c[n i + j] stream_j
// `predicted` may not alias `streams`.
void Predict(const TextConfig& config, const LayerWeights& w,
             StreamsView streams, StreamsView predicted);

// Corrects the predictions after the layer has computed the active stream
// (Altup.correct):
//   corrected_i = predicted_i + (k_i + 1) (activated - predicted_active)
//   activated  [rows][hidden]  output of the FFN's residual
//   corrected  may alias `predicted`
void Correct(const TextConfig& config, const LayerWeights& w,
             StreamsView predicted, ConstMatrixView activated,
             StreamsView corrected);

// Folds the streams into one after the last layer: stream 0 and the others'
// altup_unembed_projections, scaled to stream 0's root mean square; their mean.
//   projected  scratch, [GemmCapacity(rows)][hidden]
//   merged     [rows][hidden]; may not alias `streams`
// `streams.data` must have room for GemmCapacity(rows) rows from the start of
// the last stream.
void MergeStreams(const std::vector<WeightMatrix>& altup_unembed_projections,
                  StreamsView streams, MatrixView projected, MatrixView merged,
                  GemmContext* gemm);

}  // namespace lapidary::kernels::text

#endif  // LAPIDARY_KERNELS_TEXT_ALTUP_H_
