#include "kernels/text/step.h"

#include <cmath>

#include "kernels/stopwatch.h"

namespace lapidary::kernels::text {

void RopeTable::Fill(float theta, int64_t head_dim,
                     const std::vector<RowPlace>& rows) {
  const int64_t half = head_dim / 2;
  cos.resize(rows.size() * half);
  sin.resize(rows.size() * half);
  for (int64_t k = 0; k < half; ++k) {
    const float exponent = static_cast<float>(2 * k) / head_dim;
    const float frequency = 1.0f / std::pow(theta, exponent);
    for (size_t row = 0; row < rows.size(); ++row) {
      const float angle = static_cast<float>(rows[row].position) * frequency;
      cos[row * half + k] = std::cos(angle);
      sin[row * half + k] = std::sin(angle);
    }
  }
}

StreamsView Step::Streams(std::vector<float>* storage, const TextConfig& config,
                          int64_t rows) {
  const int64_t padding = GemmCapacity(rows) - rows;
  const size_t size =
      (config.altup_num_inputs * rows + padding) * config.hidden_size;
  MakeRoom(storage, size);
  return {storage->data(), config.altup_num_inputs, rows, config.hidden_size};
}

void Step::Project(const WeightMatrix& w, ConstMatrixView inputs,
                   MatrixView outputs) {
  ProjectAll(inputs, {{&w, outputs}});
}

void Step::ProjectAll(ConstMatrixView inputs,
                      absl::Span<const Product> products) {
  const Stopwatch watch(&timings->gemm_ns);
  MatMulAll(inputs, products, &gemm);
}

void Step::Expect(int64_t rows, absl::Span<const WeightMatrix* const> weights) {
  // With more rows, what takes the time is arithmetic, and the members are not
  // idle between products.
  constexpr int64_t kFewRows = 4;
  if (rows <= kFewRows) ExpectMatMulAll(weights);
}

size_t Step::bytes() const {
  size_t floats = predicted_storage.capacity() + state.embedding.capacity() +
                  state.streams.capacity();
  for (const RopeTable& table : rope) {
    floats += table.cos.capacity() + table.sin.capacity();
  }
  size_t total = floats * sizeof(float) + kv.bytes() + gemm.ScratchBytes() +
                 sparse_ffn.bytes();
  for (const ScratchMatrix* matrix :
       {&normed, &laurel_low, &laurel, &query, &key, &value, &context,
        &attended, &hidden, &gate, &up, &per_layer_input, &per_layer_gate,
        &logits}) {
    total += matrix->bytes();
  }
  for (const auto& buffer : scores) total += buffer.capacity() * sizeof(float);
  return total;
}

}  // namespace lapidary::kernels::text
