#include "kernels/audio/product_phase.h"

#include <algorithm>
#include <utility>

#include "kernels/gemm/panel_layout.h"

namespace lapidary::kernels::audio {
namespace {

// Of a piece. Its results, 256 KB, stay in a core's second cache.
constexpr int64_t kMostRows = 256;
constexpr int64_t kColumns = 4 * kPanelRows;

// oneDNN 2.6 chooses a bf16 kernel by the number of rows: below 16 it may leave
// AMX, and from 64 on it adds up long sums in other pieces. Rows of a batch
// must not come out otherwise than in another batch, so it is never asked for
// such sizes. (Measured: e.g. 3e-5 between 1 row and 16 of 6144 inputs. f32
// kernels give every row the same bits.)
constexpr int64_t kBf16RowStep = 16;
constexpr int64_t kMostRowsOfLongSums = 48;
constexpr int64_t kLongSum = 2048;

// Sizes for which primitives are made: few, and never much more than what is
// wanted.
int64_t RowClass(const WeightMatrix& w, int64_t rows) {
  const bool bf16 = FormOf(w) == WeightForm::kPanelsBf16;
  const int64_t step = bf16         ? kBf16RowStep
                       : rows <= 16 ? 4
                       : rows <= 64 ? 8
                                    : 16;
  return (rows + step - 1) / step * step;
}

RowTiles CutRows(const WeightMatrix& w, int64_t rows) {
  const bool long_sums =
      FormOf(w) == WeightForm::kPanelsBf16 && w.k() >= kLongSum;
  const int64_t most = long_sums ? kMostRowsOfLongSums : kMostRows;
  const int64_t tiles = std::max<int64_t>(1, (rows + most - 1) / most);
  return {rows, std::max<int64_t>(1, RowClass(w, (rows + tiles - 1) / tiles))};
}

int64_t CostOf(const WeightMatrix& w, int64_t rows) {
  // Reading the weights costs as much as some rows.
  constexpr int64_t kRowsOfAPass = 16;
  return rows == 0 ? 0 : std::max(rows, kRowsOfAPass) * w.n() * w.k();
}

// Columns [first, first + count) of the product; `first` begins a panel.
//   result  [rows.count][count]
float* Multiply(const WeightMatrix& w, const std::byte* in, RowRange rows,
                int64_t first, int64_t count, Lane* lane, Scratch* room) {
  const WeightForm form = FormOf(w);
  const bool plain = form == WeightForm::kPlainF32;
  const MatMulShape shape{RowClass(w, rows.count), count, w.k(),
                          plain ? w.n() : 0, form};
  const void* weights =
      plain ? static_cast<const void*>(w.plain() + first)
            : static_cast<const std::byte*>(w.data()) +
                  first / kPanelRows * PanelBytes(w.dtype(), w.k());
  auto* out = room->Room<float>(shape.rows * count);
  lane->products.Execute(
      shape, in + rows.first * w.k() * SizeOf(SourceType(form)), weights, out);
  return out;
}

}  // namespace

Phase ProductPhase(std::vector<ProductOutput> outputs, const std::byte* in,
                   int64_t rows) {
  const int64_t n = outputs[0].weights->n();
  const RowTiles tiles = CutRows(*outputs[0].weights, rows);
  const int64_t columns = (n + kColumns - 1) / kColumns;
  const int64_t pieces = tiles.count() * columns;  // of each product
  Phase phase;
  phase.items = pieces * static_cast<int64_t>(outputs.size());
  phase.macs =
      CostOf(*outputs[0].weights, rows) * static_cast<int64_t>(outputs.size());
  phase.run = [=, outputs = std::move(outputs)](int64_t item, Lane* lane) {
    const ProductOutput& output = outputs[item / pieces];
    Piece piece;
    piece.rows = tiles.tile(item % pieces % tiles.count());
    piece.column = item % pieces / tiles.count() * kColumns;
    piece.columns = std::min(kColumns, n - piece.column);
    piece.values = Multiply(*output.weights, in, piece.rows, piece.column,
                            piece.columns, lane, &lane->results);
    output.take(piece);
  };
  return phase;
}

Phase GatedProductPhase(
    const WeightMatrix& w, const std::byte* in, int64_t rows,
    std::function<void(const Piece&, const float*, int64_t)> take) {
  const int64_t half = w.n() / 2;
  // Where the gate's half does not begin a panel, all columns go together.
  const bool whole = half % kPanelRows != 0;
  const int64_t each = whole ? half : kColumns / 2;
  const RowTiles tiles = CutRows(w, rows);
  Phase phase;
  phase.items = tiles.count() * ((half + each - 1) / each);
  phase.macs = CostOf(w, rows);
  phase.run = [=, &w, take = std::move(take)](int64_t item, Lane* lane) {
    Piece piece;
    piece.rows = tiles.tile(item % tiles.count());
    piece.column = item / tiles.count() * each;
    piece.columns = std::min(each, half - piece.column);
    if (whole) {
      piece.values =
          Multiply(w, in, piece.rows, 0, w.n(), lane, &lane->results);
      take(piece, piece.values + half, w.n());
      return;
    }
    piece.values = Multiply(w, in, piece.rows, piece.column, piece.columns,
                            lane, &lane->results);
    const float* gate = Multiply(w, in, piece.rows, half + piece.column,
                                 piece.columns, lane, &lane->gates);
    take(piece, gate, piece.columns);
  };
  return phase;
}

Phase RowPhase(int64_t rows, int64_t macs,
               std::function<void(RowRange, Lane*)> run) {
  const RowTiles tiles = {rows, rows < 64 ? 1 : 8};
  Phase phase;
  phase.items = tiles.count();
  phase.macs = rows * macs;
  phase.run = [tiles, run = std::move(run)](int64_t item, Lane* lane) {
    run(tiles.tile(item), lane);
  };
  return phase;
}

}  // namespace lapidary::kernels::audio
