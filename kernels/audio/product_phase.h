// A matrix product of all rows of a batch as a phase: cut by rows and columns,
// so that few rows keep all lanes busy too, and each piece's results are still
// in a lane's cache when something is done with them.
#ifndef LAPIDARY_KERNELS_AUDIO_PRODUCT_PHASE_H_
#define LAPIDARY_KERNELS_AUDIO_PRODUCT_PHASE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/audio/phase.h"
#include "kernels/gemm/weight_matrix.h"

namespace lapidary::kernels::audio {

// Rows that a batch's buffers have behind its own, since a product is one of a
// class of sizes.
inline constexpr int64_t kSpareRows = 16;

// Results of rows × columns [column, column + columns).
struct Piece {
  RowRange rows;
  int64_t column = 0, columns = 0;
  const float* values = nullptr;  // [rows.count][columns], dense
};

struct ProductOutput {
  const WeightMatrix* weights = nullptr;
  std::function<void(const Piece& piece)> take;
};

// The products of the same inputs with several matrices of equal shape.
//   in  [rows + kSpareRows][k] in the products' type
Phase ProductPhase(std::vector<ProductOutput> outputs, const std::byte* in,
                   int64_t rows);

// A product whose result's halves belong together: columns i and n/2 + i.
//   take  piece.values and gate are [rows.count] rows of piece.columns,
//         `stride` floats apart
Phase GatedProductPhase(
    const WeightMatrix& w, const std::byte* in, int64_t rows,
    std::function<void(const Piece& piece, const float* gate, int64_t stride)>
        take);

// Work on rows one by one.
//   macs  of one row
Phase RowPhase(int64_t rows, int64_t macs,
               std::function<void(RowRange rows, Lane* lane)> run);

}  // namespace lapidary::kernels::audio

#endif  // LAPIDARY_KERNELS_AUDIO_PRODUCT_PHASE_H_
