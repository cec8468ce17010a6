// Many tiles of activations by AMX (amx_unit.h), as a prompt has them.
//
// A block, the weights of a few records of four panels, is used by one tile
// after another while it is in L1; int4 is decoded once for all of them. A
// stretch of records of all tiles stays in L2 for the panels at hand, as do
// their sums.

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/quant/activation_tile.h"
#include "kernels/quant/amx_unit.h"
#include "kernels/quant/product_amx.h"
#include "kernels/quant/product_kernels.h"
#include "kernels/quant/quant_layout.h"
#include "kernels/scratch.h"

namespace lapidary::kernels::amx {
namespace {

constexpr int64_t kBlockRecords = 2;
constexpr int64_t kBlockBytes = kBlockRecords * kDecodedBytes;  // of a panel
constexpr int64_t kStretchBytes = 640 << 10;

// Of four panels and a tile.
constexpr int64_t kTileSums = kPanels * kMaxTileRows * kQuantPanelRows;

// AddRecords, by a tile whose registers are configured.
template <class Weights>
using BlockKernel = void (*)(const Weights& weights, const std::byte* x,
                             int64_t records, float* sums);

template <class Weights, int kRows>
LAPIDARY_AMX void AddBlock(const Weights& weights, const std::byte* x,
                           int64_t records, float* sums) {
  AddRecords<kRows>(weights, x, records, sums);
}

template <class Weights, int... kIndices>
BlockKernel<Weights> KernelOf(int64_t rows,
                              std::integer_sequence<int, kIndices...>) {
  static constexpr BlockKernel<Weights> kByRows[] = {
      AddBlock<Weights, kIndices + 1>...};
  return kByRows[rows - 1];
}

// The records [first, first + count) of four panels.
struct Block {
  const FourPanels& four;
  int64_t first, count;
};

StoredWeights<WeightByte::kUnsigned> WeightsOf(const Block& block) {
  StoredWeights<WeightByte::kUnsigned> weights;
  for (int64_t i = 0; i < kPanels; ++i) {
    weights.panel[i] = block.four.panel[i] + block.first * kDecodedBytes;
  }
  weights.ahead = true;
  return weights;
}

//   room  [4][kBlockBytes]
LAPIDARY_AMX StoredWeights<WeightByte::kSigned> Decode(const Block& block,
                                                       std::byte* room) {
  constexpr int64_t kBytes = QuantRecordBytes(DType::kInt4);
  StoredWeights<WeightByte::kSigned> weights;
  for (int64_t i = 0; i < kPanels; ++i) {
    if (i >= block.four.count) {
      weights.panel[i] = weights.panel[i - 1];
      continue;
    }
    std::byte* const decoded = room + i * kBlockBytes;
    weights.panel[i] = decoded;
    for (int64_t r = 0; r < block.count; ++r) {
      DecodeRecord<WeightByte::kSigned, true>(
          block.four.panel[i] + (block.first + r) * kBytes,
          kBlockRecords * kBytes, decoded + r * kDecodedBytes);
    }
  }
  return weights;
}

class ManyTiles {
 public:
  explicit ManyTiles(const TilesProduct& product);

  void Multiply();

 private:
  // Four panels' products with all tiles.
  struct Four {
    FourPanels panels;
    int64_t column;  // the first
    float* sums;     // [tiles][kTileSums]
  };

  // Adds a block's; writes a tile's outputs after the last block.
  template <class Weights>
  LAPIDARY_AMX void Add(Weights weights, const Block& block, const Four& four);

  // How many records of all tiles stay in L2.
  int64_t StretchRecords() const;

  TilesProduct p_;
  std::vector<Four> fours_;
  std::byte* room_;
};

ManyTiles::ManyTiles(const TilesProduct& product) : p_(product) {
  // Registers are configured for a number of rows, of which there are two at
  // most.
  std::sort(p_.tiles.begin(), p_.tiles.end(),
            [](const auto& a, const auto& b) { return a.rows < b.rows; });
  thread_local Scratch sums_scratch, room_scratch;
  const int64_t fours = (p_.panel_count + kPanels - 1) / kPanels;
  const size_t sums_of_four = p_.tiles.size() * kTileSums;
  auto* sums = sums_scratch.Room<float>(fours * sums_of_four);
  room_ = room_scratch.Room<std::byte>(kPanels * kBlockBytes);
  fours_.reserve(fours);
  for (int64_t i = 0; i < p_.panel_count; i += kPanels, sums += sums_of_four) {
    fours_.push_back({{p_.panels + i * QuantPanelSize(p_.dtype, p_.records),
                       p_.panel_count - i, p_.records, p_.dtype},
                      i * kQuantPanelRows,
                      sums});
  }
}

int64_t ManyTiles::StretchRecords() const {
  int64_t rows = 0;
  for (const TilesProduct::Tile& tile : p_.tiles) rows += tile.rows;
  const int64_t blocks =
      kStretchBytes / (rows * kTileRecordRowBytes * kBlockRecords);
  return std::max<int64_t>(1, blocks) * kBlockRecords;
}

void ManyTiles::Multiply() {
  const int64_t stretch = StretchRecords();
  for (int64_t from = 0; from < p_.records; from += stretch) {
    const int64_t to = std::min(p_.records, from + stretch);
    for (const Four& four : fours_) {
      for (int64_t first = from; first < to; first += kBlockRecords) {
        const Block block = {four.panels, first,
                             std::min(kBlockRecords, to - first)};
        if (p_.dtype == DType::kInt4) {
          Add(Decode(block, room_), block, four);
        } else {
          Add(WeightsOf(block), block, four);
        }
      }
    }
  }
}

template <class Weights>
void ManyTiles::Add(Weights weights, const Block& block, const Four& four) {
  int64_t rows = 0;
  BlockKernel<Weights> add = nullptr;
  float* sums = four.sums;
  for (const TilesProduct::Tile& tile : p_.tiles) {
    if (tile.rows != rows) {
      rows = tile.rows;
      LoadConfig(rows);
      add = KernelOf<Weights>(rows,
                              std::make_integer_sequence<int, kMaxTileRows>());
    }
    if (block.first == 0) std::fill_n(sums, kTileSums, 0.0f);
    add(weights, tile.data + block.first * rows * kTileRecordRowBytes,
        block.count, sums);
    if (block.first + block.count == p_.records) {
      WriteSums(sums, rows, four.panels, QuantScaleOffset(p_.dtype, p_.records),
                p_.columns - four.column, tile.out + four.column,
                p_.out_stride);
    }
    weights.ahead = false;  // the next tile finds them in a cache
    sums += kTileSums;
  }
  _tile_release();
}

}  // namespace

void MultiplyTiles(const TilesProduct& product) {
  ManyTiles(product).Multiply();
}

}  // namespace lapidary::kernels::amx
