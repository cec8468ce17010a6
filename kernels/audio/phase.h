// What the encoder's work is cut into.
//
// A phase is work on all rows of a batch, cut into items that any lane may do
// in any order; the next phase needs all of them. A lane is one compute thread
// with its own primitives and scratch memory. What an item computes of a row
// does not depend on the batch that the row is in.
#ifndef LAPIDARY_KERNELS_AUDIO_PHASE_H_
#define LAPIDARY_KERNELS_AUDIO_PHASE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "kernels/gemm/matmul_primitives.h"
#include "kernels/scratch.h"
#include "kernels/tensor.h"

namespace lapidary::kernels::audio {

struct Lane {
  MatMulPrimitives products;
  Scratch inputs;   // of a product
  Scratch results;  // of one
  Scratch gates;    // of a second one
  Scratch rows;

  size_t bytes() const {
    return products.bytes() + inputs.bytes() + results.bytes() + gates.bytes() +
           rows.bytes();
  }
};

struct Phase {
  int64_t items = 0;
  int64_t macs = 0;  // of all items, roughly: what their time goes by
  std::function<void(int64_t item, Lane* lane)> run;
  // By the calling thread alone, before the first item and after the last.
  std::function<void()> begin, end;
};

// Rows [first, first + count) of a batch.
struct RowRange {
  int64_t first = 0, count = 0;
};

// Cuts `rows` into ranges of `each`, the last one shorter.
struct RowTiles {
  int64_t rows = 0, each = 1;

  int64_t count() const { return (rows + each - 1) / each; }
  RowRange tile(int64_t i) const {
    return {i * each, std::min(each, rows - i * each)};
  }
};

}  // namespace lapidary::kernels::audio

#endif  // LAPIDARY_KERNELS_AUDIO_PHASE_H_
