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
#include "kernels/gemm/amx_f32.h"
#include "kernels/gemm/amx_rows.h"
#include "kernels/gemm/matmul_primitives.h"
#include "kernels/gemm/weight_matrix.h"
#include "kernels/quant/activations.h"
#include "kernels/tensor.h"

namespace lapidary::kernels::audio {

// What multiplies: rows are made for it.
enum class ProductUnit : uint8_t { kQuantized, kAmxBf16, kAmxF32, kOneDnn };

// The rows that products read, in memory that somebody else owns, as their
// weights are multiplied by: f32 or bf16, in tiles where the CPU has AMX, or
// quantised to 8 bits.
class ProductRows {
 public:
  // What a product of so many rows needs.
  static size_t Bytes(const WeightMatrix& w, int64_t rows);

  //   w       the weights, or one of several of equal shape and dtype
  //   memory  Bytes(w, rows), 64-byte aligned
  ProductRows(const WeightMatrix& w, int64_t rows, std::byte* memory);

  // Writes a row's columns [column, column + count): whole kQuantRecordDepths,
  // or to the row's end.
  void Put(int64_t row, int64_t column, const float* values,
           int64_t count) const;
  // Writes whole rows.
  //   values  [rows.count][k]
  void PutRows(RowRange rows, const float* values) const;

  // The ranges of rows that are multiplied together.
  const RowTiles& tiles() const { return tiles_; }

  // Columns [first, first + count) of the product; `first` begins a panel.
  //   tile    of tiles()
  //   result  [rows of the tile][count], in `room`
  float* Multiply(const WeightMatrix& w, int64_t tile, int64_t first,
                  int64_t count, Lane* lane, Scratch* room) const;

 private:
  QuantTiles Quantized(int64_t tile) const;
  AmxRows Bf16Tiles(int64_t tile) const;
  AmxF32Rows F32Tiles(int64_t tile) const;

  ProductUnit unit_;
  WeightForm form_;
  int64_t k_;
  RowTiles tiles_;
  std::byte* memory_;
};

// Results of rows × columns [column, column + columns).
struct Piece {
  RowRange rows;
  int64_t column = 0, columns = 0;
  float* values = nullptr;  // [rows.count][columns], dense; whoever takes it
                            // may change it
};

struct ProductOutput {
  const WeightMatrix* weights = nullptr;
  std::function<void(const Piece& piece)> take;
};

// The products of the same inputs with several matrices of equal shape and
// dtype.
Phase ProductPhase(std::vector<ProductOutput> outputs, const ProductRows& in);

// A product whose result's halves belong together: columns i and n/2 + i.
//   take  piece.values and gate are [rows.count] rows of piece.columns,
//         `stride` floats apart
Phase GatedProductPhase(
    const WeightMatrix& w, const ProductRows& in,
    std::function<void(const Piece& piece, const float* gate, int64_t stride)>
        take);

// Work on rows one by one.
//   macs  of one row
Phase RowPhase(int64_t rows, int64_t macs,
               std::function<void(RowRange rows, Lane* lane)> run);

}  // namespace lapidary::kernels::audio

#endif  // LAPIDARY_KERNELS_AUDIO_PRODUCT_PHASE_H_
