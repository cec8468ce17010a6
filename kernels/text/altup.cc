#include "kernels/text/altup.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "kernels/parallel.h"
#include "kernels/simd/row_ops.h"

namespace lapidary::kernels::text {
namespace {

// The config reader allows no more streams.
constexpr int64_t kMaxStreams = 8;

using StreamArray = std::array<float, kMaxStreams>;

// Altup.compute_router_modalities: tanh of the router on the normed row. The
// product is divided by hidden, where Hugging Face divides the row: the same
// where hidden is a power of two.
StreamArray Route(const TextConfig& config, const LayerWeights& w,
                  const float* row, float* normed) {
  const int64_t hidden = config.hidden_size;
  RmsNorm(row, w.router_norm, config.rms_norm_eps, hidden, normed);
  StreamArray modalities{};
  for (int64_t i = 0; i < config.altup_num_inputs; ++i) {
    const float routed =
        Dot(w.modality_router + i * hidden, normed, hidden) / hidden;
    modalities[i] = std::tanh(routed);
  }
  return modalities;
}

// Coefficient number `out`: Σ_in weights[out][in] · modalities[in].
float Coefficient(const std::vector<float>& weights, int64_t out,
                  const StreamArray& modalities, int64_t streams) {
  float sum = 0;
  for (int64_t in = 0; in < streams; ++in) {
    sum += weights[out * streams + in] * modalities[in];
  }
  return sum;
}

// The router's scratch row, one for each thread.
float* ThreadRow(int64_t size) {
  thread_local std::vector<float> row;
  if (static_cast<int64_t>(row.size()) < size) row.resize(size);
  return row.data();
}

// row scaled so that its root mean square is `target`; the floor is on the
// mean square (Hugging Face's epsilon_tensor).
void MatchMagnitude(const float* row, float target, int64_t n, float* out) {
  constexpr float kMeanSquareFloor = 1e-5f;
  const float rms =
      std::sqrt(std::max(MeanOfSquares(row, n), kMeanSquareFloor));
  Scale(target / rms, row, n, out);
}

}  // namespace

void InitStreams(const std::vector<WeightMatrix>& altup_projections,
                 ConstMatrixView embedding, MatrixView projected,
                 StreamsView streams, GemmContext* gemm) {
  const int64_t hidden = streams.hidden;
  std::memcpy(streams.stream(0).data, embedding.data,
              streams.rows * hidden * sizeof(float));
  for (int64_t i = 1; i < streams.streams; ++i) {
    MatMul(altup_projections[i - 1], embedding, projected, gemm);
    ParallelFor(streams.rows, [&](int64_t row) {
      const float rms = std::sqrt(MeanOfSquares(embedding.row(row), hidden));
      MatchMagnitude(projected.row(row), rms, hidden,
                     streams.stream(i).row(row));
    });
  }
}

void Predict(const TextConfig& config, const LayerWeights& w,
             StreamsView streams, StreamsView predicted) {
  const int64_t hidden = streams.hidden;
  const int64_t n = streams.streams;
  ParallelFor(streams.rows, [&](int64_t row) {
    const StreamArray modalities =
        Route(config, w, streams.stream(config.altup_active_idx).row(row),
              ThreadRow(hidden));
    const float* in[kMaxStreams];
    float* out[kMaxStreams];
    float coefficients[kMaxStreams * kMaxStreams];
    for (int64_t i = 0; i < n; ++i) {
      in[i] = streams.stream(i).row(row);
      out[i] = predicted.stream(i).row(row);
    }
    for (int64_t i = 0; i < n * n; ++i) {
      coefficients[i] = Coefficient(w.prediction_coefs, i, modalities, n);
    }
    MixRows(coefficients, n, in, hidden, out);
  });
}

void Correct(const TextConfig& config, const LayerWeights& w,
             StreamsView predicted, ConstMatrixView activated,
             StreamsView corrected) {
  const int64_t hidden = predicted.hidden;
  const int64_t n = predicted.streams;
  ParallelFor(predicted.rows, [&](int64_t row) {
    float* scratch = ThreadRow(hidden);
    const StreamArray modalities =
        Route(config, w, activated.row(row), scratch);
    const float* active = predicted.stream(config.altup_active_idx).row(row);
    float* innovation = scratch;
    ScaledSum(-1.0f, active, activated.row(row), hidden, innovation);
    for (int64_t i = 0; i < n; ++i) {
      const float c = Coefficient(w.correction_coefs, i, modalities, n);
      ScaledSum(c + 1.0f, innovation, predicted.stream(i).row(row), hidden,
                corrected.stream(i).row(row));
    }
  });
}

void MergeStreams(const std::vector<WeightMatrix>& altup_unembed_projections,
                  StreamsView streams, MatrixView projected, MatrixView merged,
                  GemmContext* gemm) {
  const int64_t hidden = streams.hidden;
  const MatrixView first = streams.stream(0);
  std::memcpy(merged.data, first.data, streams.rows * hidden * sizeof(float));
  for (int64_t i = 1; i < streams.streams; ++i) {
    MatMul(altup_unembed_projections[i - 1], streams.stream(i), projected,
           gemm);
    ParallelFor(streams.rows, [&](int64_t row) {
      const float rms = std::sqrt(MeanOfSquares(first.row(row), hidden));
      MatchMagnitude(projected.row(row), rms, hidden, projected.row(row));
      AddScaled(1.0f, projected.row(row), hidden, merged.row(row));
    });
  }
  ParallelFor(streams.rows, [&](int64_t row) {
    Scale(1.0f / streams.streams, merged.row(row), hidden, merged.row(row));
  });
}

}  // namespace lapidary::kernels::text
