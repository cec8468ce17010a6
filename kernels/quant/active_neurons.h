// Which neurons of a sparse layer are active in which rows of a batch, once
// the cutoff has made most of the gate zero.
//
//   ActiveNeurons active;
//   active.Find(gate);
//   NeuronMatMul(w_up, active.neurons(), x, up);
//   active.Activate(up);
//   SumNeurons(w_down, active, out);
#ifndef LAPIDARY_KERNELS_QUANT_ACTIVE_NEURONS_H_
#define LAPIDARY_KERNELS_QUANT_ACTIVE_NEURONS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/tensor.h"

namespace lapidary::kernels {

class ActiveNeurons {
 public:
  // A neuron is active in a row where its gate is not zero: one that is NaN is
  // active. Reuses the memory of the last call.
  //   gate  [rows][neurons]
  void Find(ConstMatrixView gate);

  // value = gelu(gate) · up at the active neurons of each row.
  //   up  [rows][neurons().size()]
  void Activate(ConstMatrixView up);

  int64_t rows() const { return static_cast<int64_t>(begins_.size()) - 1; }

  // Active in any row, ascending.
  absl::Span<const int32_t> neurons() const { return neurons_; }

  // Of row r, neurons ascending: their places in neurons(), and their values:
  // the gate's until Activate.
  absl::Span<const int32_t> places(int64_t row) const {
    return absl::MakeConstSpan(places_).subspan(begins_[row], Count(row));
  }
  absl::Span<const float> values(int64_t row) const {
    return absl::MakeConstSpan(values_).subspan(begins_[row], Count(row));
  }

  // Active neurons of all rows together.
  int64_t total() const { return begins_.back(); }

  size_t bytes() const;

 private:
  int64_t Count(int64_t row) const { return begins_[row + 1] - begins_[row]; }
  void FindUnion(int64_t words);

  std::vector<uint64_t> bits_;     // [rows][words]: a bit for each neuron
  std::vector<uint64_t> any_;      // [words]
  std::vector<int32_t> place_of_;  // [neurons], where they are in neurons_
  std::vector<int32_t> neurons_;
  std::vector<int64_t> begins_ = {0};  // [rows + 1]
  std::vector<int32_t> places_;        // [total]
  std::vector<float> values_, ups_;    // [total]
};

}  // namespace lapidary::kernels

#endif  // LAPIDARY_KERNELS_QUANT_ACTIVE_NEURONS_H_
