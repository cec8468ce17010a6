#include "kernels/audio/product_phase.h"

#include <algorithm>
#include <utility>

#include "kernels/gemm/amx_f32.h"
#include "kernels/gemm/amx_product.h"
#include "kernels/gemm/panel_layout.h"
#include "kernels/gemm/weight_layout.h"
#include "kernels/quant/panel_product.h"
#include "kernels/quant/quant_layout.h"
#include "kernels/simd/channel_ops.h"

namespace lapidary::kernels::audio {
namespace {

// Of a piece: half of a published clip's. In bf16 its inputs of 1536 columns
// (1.2 MB) and results (384 KB) stay in a core's second cache while weights
// come by.
constexpr int64_t kMostRows = 384;
constexpr int64_t kColumns = 4 * kPanelRows;
static_assert(kColumns % kQuantRecordDepth == 0 && kColumns % kAmxColumns == 0,
              "what ProductRows::Put wants");

// Rows up to a class of sizes are computed and thrown away.
constexpr int64_t kSpareRows = 16;

// oneDNN 2.6 chooses a bf16 kernel by the number of rows: below 16 it may leave
// AMX, and from 64 on it adds up long sums in other pieces. Rows of a batch
// must not come out otherwise than in another batch, so it is never asked for
// such sizes. (Measured: e.g. 3e-5 between 1 row and 16 of 6144 inputs. f32
// kernels give every row the same bits.)
constexpr int64_t kBf16RowStep = 16;
constexpr int64_t kMostRowsOfLongSums = 48;
constexpr int64_t kLongSum = 2048;

int64_t RoundUp(int64_t rows, int64_t step) {
  return (rows + step - 1) / step * step;
}

// Sizes for which primitives are made: few, and never much more than what is
// wanted. Quantised rows are multiplied in tiles, of whatever size.
int64_t RowClass(const WeightMatrix& w, int64_t rows) {
  if (IsQuantized(w.dtype())) return RoundUp(rows, kMaxTileRows);
  const bool bf16 = FormOf(w) == WeightForm::kPanelsBf16;
  const int64_t step = bf16         ? kBf16RowStep
                       : rows <= 16 ? 4
                       : rows <= 64 ? 8
                                    : 16;
  return RoundUp(rows, step);
}

ProductUnit UnitFor(const WeightMatrix& w) {
  if (IsQuantized(w.dtype())) return ProductUnit::kQuantized;
  const WeightForm form = FormOf(w);
  if (UsesAmxProduct(form)) return ProductUnit::kAmxBf16;
  if (form == WeightForm::kPanelsF32 && AmxAllowed()) {
    return ProductUnit::kAmxF32;
  }
  return ProductUnit::kOneDnn;
}

bool ByAmx(ProductUnit unit) {
  return unit == ProductUnit::kAmxBf16 || unit == ProductUnit::kAmxF32;
}

// Rows that are multiplied together, at most.
int64_t MostRows(const WeightMatrix& w) {
  const bool long_sums = UnitFor(w) == ProductUnit::kOneDnn &&
                         FormOf(w) == WeightForm::kPanelsBf16 &&
                         w.k() >= kLongSum;
  return long_sums ? kMostRowsOfLongSums : kMostRows;
}

RowTiles CutRows(const WeightMatrix& w, int64_t rows) {
  const int64_t most = MostRows(w);
  const int64_t tiles = std::max<int64_t>(1, (rows + most - 1) / most);
  const int64_t each = (rows + tiles - 1) / tiles;
  return {rows, std::max<int64_t>(1, ByAmx(UnitFor(w)) ? RoundUp(each, kAmxRows)
                                                       : RowClass(w, each))};
}

int64_t CostOf(const WeightMatrix& w, int64_t rows) {
  // Reading the weights costs as much as some rows.
  constexpr int64_t kRowsOfAPass = 16;
  return rows == 0 ? 0 : std::max(rows, kRowsOfAPass) * w.n() * w.k();
}

}  // namespace

size_t ProductRows::Bytes(const WeightMatrix& w, int64_t rows) {
  switch (UnitFor(w)) {
    case ProductUnit::kQuantized:
      return rows * QuantActivationBytes(w.k());
    case ProductUnit::kAmxBf16:
      return AmxRows::Bytes(rows, w.k());
    case ProductUnit::kAmxF32:
      return AmxF32Rows::Bytes(rows, w.k());
    case ProductUnit::kOneDnn:
      break;
  }
  return (rows + kSpareRows) * w.k() * SizeOf(SourceType(FormOf(w)));
}

ProductRows::ProductRows(const WeightMatrix& w, int64_t rows, std::byte* memory)
    : unit_(UnitFor(w)),
      form_(FormOf(w)),
      k_(w.k()),
      tiles_(CutRows(w, rows)),
      memory_(memory) {}

QuantTiles ProductRows::Quantized(int64_t tile) const {
  const RowRange rows = tiles_.tile(tile);
  return {rows.count, k_, memory_ + rows.first * QuantActivationBytes(k_)};
}

AmxRows ProductRows::Bf16Tiles(int64_t tile) const {
  const RowRange rows = tiles_.tile(tile);
  return {rows.count, k_, memory_ + AmxRows::Bytes(rows.first, k_)};
}

AmxF32Rows ProductRows::F32Tiles(int64_t tile) const {
  const RowRange rows = tiles_.tile(tile);
  return {rows.count, k_, memory_ + AmxF32Rows::Bytes(rows.first, k_)};
}

void ProductRows::Put(int64_t row, int64_t column, const float* values,
                      int64_t count) const {
  const int64_t tile = row / tiles_.each;
  const int64_t in_tile = row - tile * tiles_.each;
  switch (unit_) {
    case ProductUnit::kQuantized:
      return Quantized(tile).Put(in_tile, column, values, count);
    case ProductUnit::kAmxBf16:
      return Bf16Tiles(tile).Put(in_tile, column, values, count);
    case ProductUnit::kAmxF32:
      return F32Tiles(tile).Put(in_tile, column, values, count);
    case ProductUnit::kOneDnn:
      break;
  }
  const DType type = SourceType(form_);
  Convert(values, count, type, memory_ + (row * k_ + column) * SizeOf(type));
}

void ProductRows::PutRows(RowRange rows, const float* values) const {
  for (int64_t r = 0; r < rows.count; ++r) {
    Put(rows.first + r, 0, values + r * k_, k_);
  }
}

float* ProductRows::Multiply(const WeightMatrix& w, int64_t tile, int64_t first,
                             int64_t count, Lane* lane, Scratch* room) const {
  const RowRange rows = tiles_.tile(tile);
  const std::byte* panels = static_cast<const std::byte*>(w.data()) +
                            first / WeightPanelRows(w.dtype()) *
                                WeightPanelBytes(w.dtype(), k_).value_or(0);
  if (unit_ == ProductUnit::kQuantized) {
    auto* out = room->Room<float>(rows.count * count);
    PanelRun run;
    run.dtype = w.dtype();
    run.data = panels;
    run.count = QuantPanels(count);
    run.records = QuantRecords(k_);
    run.n = count;
    MultiplyPanels(ProductKernelsInUse(), run, Quantized(tile),
                   {out, rows.count, count});
    return out;
  }
  if (ByAmx(unit_)) {
    auto* out = room->Room<float>(rows.count * count);
    if (unit_ == ProductUnit::kAmxBf16) {
      AmxMultiply({Bf16Tiles(tile).inputs(), count, panels, out});
    } else {
      AmxMultiplyF32(F32Tiles(tile), count, panels, out);
    }
    return out;
  }
  const bool plain = form_ == WeightForm::kPlainF32;
  const MatMulShape shape{RowClass(w, rows.count), count, k_, plain ? w.n() : 0,
                          form_};
  auto* out = room->Room<float>(shape.rows * count);
  lane->products.Execute(
      shape, memory_ + rows.first * k_ * SizeOf(SourceType(form_)),
      plain ? static_cast<const void*>(w.plain() + first) : panels, out);
  return out;
}

Phase ProductPhase(std::vector<ProductOutput> outputs, const ProductRows& in) {
  const WeightMatrix& w = *outputs[0].weights;
  const int64_t n = w.n();
  const int64_t tiles = in.tiles().count();
  const int64_t columns = (n + kColumns - 1) / kColumns;
  const int64_t pieces = tiles * columns;  // of each product
  const auto products = static_cast<int64_t>(outputs.size());
  Phase phase;
  phase.items = pieces * products;
  phase.macs = CostOf(w, in.tiles().rows) * products;
  phase.run = [=, outputs = std::move(outputs)](int64_t item, Lane* lane) {
    const ProductOutput& output = outputs[item / pieces];
    const int64_t tile = item % pieces % tiles;
    Piece piece;
    piece.rows = in.tiles().tile(tile);
    piece.column = item % pieces / tiles * kColumns;
    piece.columns = std::min(kColumns, n - piece.column);
    piece.values = in.Multiply(*output.weights, tile, piece.column,
                               piece.columns, lane, &lane->results);
    output.take(piece);
  };
  return phase;
}

Phase GatedProductPhase(
    const WeightMatrix& w, const ProductRows& in,
    std::function<void(const Piece&, const float*, int64_t)> take) {
  const int64_t half = w.n() / 2;
  // Where the gate's half does not begin a panel, all columns go together.
  const bool whole = half % WeightPanelRows(w.dtype()) != 0;
  const int64_t each = whole ? half : kColumns / 2;
  const int64_t tiles = in.tiles().count();
  Phase phase;
  phase.items = tiles * ((half + each - 1) / each);
  phase.macs = CostOf(w, in.tiles().rows);
  phase.run = [=, &w, take = std::move(take)](int64_t item, Lane* lane) {
    const int64_t tile = item % tiles;
    Piece piece;
    piece.rows = in.tiles().tile(tile);
    piece.column = item / tiles * each;
    piece.columns = std::min(each, half - piece.column);
    if (whole) {
      piece.values = in.Multiply(w, tile, 0, w.n(), lane, &lane->results);
      take(piece, piece.values + half, w.n());
      return;
    }
    piece.values =
        in.Multiply(w, tile, piece.column, piece.columns, lane, &lane->results);
    const float* gate = in.Multiply(w, tile, half + piece.column, piece.columns,
                                    lane, &lane->gates);
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
