// What the layers of a step share: the rows and where they stand, and the
// scratch memory, made once and used by every step.
#ifndef LAPIDARY_KERNELS_TEXT_STEP_H_
#define LAPIDARY_KERNELS_TEXT_STEP_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/attention/step_kv.h"
#include "kernels/gemm/weight_matrix.h"
#include "kernels/tensor.h"
#include "kernels/text/altup.h"
#include "kernels/text/model.h"
#include "kernels/text/sparse_ffn.h"

namespace lapidary::kernels::text {

// One matrix of scratch memory; a use of it names its width.
class ScratchMatrix {
 public:
  // Room for [GemmCapacity(rows)][cols].
  MatrixView Take(int64_t rows, int64_t cols) {
    const size_t size = GemmCapacity(rows) * cols;
    MakeRoom(&data_, size);
    return {data_.data(), rows, cols};
  }
  size_t bytes() const { return data_.capacity() * sizeof(float); }

 private:
  std::vector<float> data_;
};

// A row of the batch: whose it is and where it stands.
struct RowPlace {
  int64_t sequence = 0;   // index into TextBatch::sequences
  int64_t first_row = 0;  // batch row where that sequence begins
  int64_t position = 0;   // in the sequence
};

// Rotary embedding angles of a step's rows, for one base frequency.
struct RopeTable {
  std::vector<float> cos, sin;  // [rows][head_dim / 2]

  // angle = position / θ^(2k / head_dim), in f32 as Hugging Face computes it.
  void Fill(float theta, int64_t head_dim, const std::vector<RowPlace>& rows);
};

struct Step {
  std::vector<RowPlace> places;   // [rows of the batch]
  std::array<RopeTable, 2> rope;  // by LayerType
  StepKv kv;
  GemmContext gemm;
  SparseFfn sparse_ffn;
  TextTimings* timings = nullptr;

  StageState state;  // of TextModel::Forward
  std::vector<float> predicted_storage;
  ScratchMatrix normed, laurel_low, laurel, query, key, value, context,
      attended, hidden, gate, up, per_layer_input, per_layer_gate, logits;
  std::vector<std::vector<float>> scores;  // one for each compute thread

  // A view for streams of `rows` rows, with room behind the last stream for
  // GemmCapacity(rows) rows.
  static StreamsView Streams(std::vector<float>* storage,
                             const TextConfig& config, int64_t rows);

  // Projects by the weights, or by several alike, and books the time.
  void Project(const WeightMatrix& w, ConstMatrixView inputs,
               MatrixView outputs);
  void ProjectAll(ConstMatrixView inputs, absl::Span<const Product> products);

  // Says which weights the next ProjectAll takes, where memory is what a step
  // of so few rows waits for.
  void Expect(int64_t rows, absl::Span<const WeightMatrix* const> weights);

  size_t bytes() const;
};

}  // namespace lapidary::kernels::text

#endif  // LAPIDARY_KERNELS_TEXT_STEP_H_
