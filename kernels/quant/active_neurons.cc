#include "kernels/quant/active_neurons.h"

#include <algorithm>

#include "kernels/parallel.h"
#include "kernels/simd/row_ops.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kWordBits = 64;

// Calls body(i) for every set bit i, ascending.
template <class Body>
void ForEachBit(const uint64_t* words, int64_t count, const Body& body) {
  for (int64_t word = 0; word < count; ++word) {
    for (uint64_t left = words[word]; left != 0; left &= left - 1) {
      body(word * kWordBits + __builtin_ctzll(left));
    }
  }
}

int64_t CountBits(const uint64_t* words, int64_t count) {
  int64_t bits = 0;
  for (int64_t word = 0; word < count; ++word) {
    bits += __builtin_popcountll(words[word]);
  }
  return bits;
}

}  // namespace

void ActiveNeurons::Find(ConstMatrixView gate) {
  const int64_t words = (gate.cols + kWordBits - 1) / kWordBits;
  MakeRoom(&bits_, gate.rows * words);
  begins_.resize(gate.rows + 1);
  ParallelFor(gate.rows, [&](int64_t row) {
    uint64_t* bits = &bits_[row * words];
    NonZeroBits(gate.row(row), gate.cols, bits);
    begins_[row + 1] = CountBits(bits, words);
  });
  for (int64_t row = 0; row < gate.rows; ++row) {
    begins_[row + 1] += begins_[row];
  }
  place_of_.resize(gate.cols);
  FindUnion(words);
  MakeRoom(&places_, total());
  MakeRoom(&values_, total());
  ParallelFor(gate.rows, [&](int64_t row) {
    int64_t at = begins_[row];
    ForEachBit(&bits_[row * words], words, [&](int64_t neuron) {
      places_[at] = place_of_[neuron];
      values_[at++] = gate.row(row)[neuron];
    });
  });
}

void ActiveNeurons::FindUnion(int64_t words) {
  any_.assign(words, 0);
  for (int64_t row = 0; row < rows(); ++row) {
    for (int64_t word = 0; word < words; ++word) {
      any_[word] |= bits_[row * words + word];
    }
  }
  neurons_.clear();
  ForEachBit(any_.data(), words, [&](int64_t neuron) {
    place_of_[neuron] = static_cast<int32_t>(neurons_.size());
    neurons_.push_back(static_cast<int32_t>(neuron));
  });
}

void ActiveNeurons::Activate(ConstMatrixView up) {
  MakeRoom(&ups_, total());
  ParallelFor(rows(), [&](int64_t row) {
    const absl::Span<const int32_t> at = places(row);
    float* ups = ups_.data() + begins_[row];
    for (size_t i = 0; i < at.size(); ++i) ups[i] = up.row(row)[at[i]];
    GeluTanhTimes(ups, Count(row), values_.data() + begins_[row]);
  });
}

size_t ActiveNeurons::bytes() const {
  return (bits_.capacity() + any_.capacity() + begins_.capacity()) * 8 +
         (place_of_.capacity() + neurons_.capacity() + places_.capacity() +
          values_.capacity() + ups_.capacity()) *
             4;
}

}  // namespace lapidary::kernels
