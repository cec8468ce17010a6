// Which keys a query sees, whatever the chunks in which a prompt came, the
// size of the ring and the pages.

#include "kernels/attention/step_kv.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kHeads = 2;
constexpr int64_t kHeadDim = 3;
constexpr int64_t kWidth = kHeads * kHeadDim;

KvLayout Layout(const std::vector<int64_t>& rings) {
  KvLayout layout;
  layout.kv_width = kWidth;
  layout.kv_heads = kHeads;
  for (size_t i = 0; i < rings.size(); ++i) {
    layout.layers.push_back({static_cast<int64_t>(10 + 2 * i), rings[i]});
  }
  return layout;
}

// What is written for a key; its value is the negative of that.
float Number(int sequence, int64_t index, int64_t position, int64_t column) {
  return static_cast<float>(1 + ((sequence * 4 + index) * 1024 + position) * 4 +
                            column);
}

// Runs batches of chunks of two sequences through a StepKv as the model does,
// and checks each query's keys against the definition of the window.
class Replay {
 public:
  explicit Replay(const std::vector<int64_t>& rings)
      : layout_(Layout(rings)), pool_(layout_, 200) {
    for (auto& sequence : sequences_) {
      auto created = KvSequence::Create(&pool_, kMaxPositions);
      EXPECT_TRUE(created.ok());
      sequence = *std::move(created);
    }
  }

  // One step: `counts` rows of each sequence, in this order in the batch.
  void Step(const std::vector<int64_t>& counts) {
    int64_t rows = 0;
    for (int64_t count : counts) rows += count;
    step_.Begin(layout_, rows);
    std::vector<SequenceRows> batch;
    int64_t first_row = 0;
    for (size_t s = 0; s < counts.size(); ++s) {
      batch.push_back({sequences_[s].get(), next_[s], counts[s]});
      Write(s, batch[s], first_row);
      first_row += counts[s];
    }
    first_row = 0;
    for (size_t s = 0; s < counts.size(); ++s) {
      Check(s, batch[s], first_row);
      if (testing::Test::HasFatalFailure()) return;
      first_row += counts[s];
    }
    step_.Commit(batch);
    for (size_t s = 0; s < counts.size(); ++s) next_[s] += counts[s];
  }

 private:
  static constexpr int64_t kMaxPositions = 900;

  void Write(int s, const SequenceRows& rows, int64_t first_row) {
    for (size_t index = 0; index < layout_.layers.size(); ++index) {
      auto* keys = reinterpret_cast<float*>(step_.Keys(index));
      auto* values = reinterpret_cast<float*>(step_.Values(index));
      for (int64_t row = 0; row < rows.rows; ++row) {
        for (int64_t c = 0; c < kWidth; ++c) {
          const int64_t at = (first_row + row) * kWidth + c;
          keys[at] = Number(s, index, rows.first_position + row, c);
          values[at] = -keys[at];
        }
      }
    }
  }

  void Check(int s, const SequenceRows& rows, int64_t first_row) {
    for (size_t index = 0; index < layout_.layers.size(); ++index) {
      const int64_t window = layout_.layers[index].ring;
      for (int64_t row = 0; row < rows.rows; ++row) {
        const int64_t query = rows.first_position + row;
        step_.VisibleRuns(index, rows, first_row, query, window, &runs_);
        const int64_t oldest =
            window > 0 ? std::max<int64_t>(0, query - window + 1) : 0;
        int64_t position = oldest;
        for (const KvRun& run : runs_) {
          const auto* keys = reinterpret_cast<const float*>(run.keys);
          const auto* values = reinterpret_cast<const float*>(run.values);
          for (int64_t i = 0; i < run.count * kWidth; ++i) {
            const int64_t row = i / kWidth, c = i % kWidth;
            const int64_t at = c / kHeadDim * run.head_stride +
                               row * run.row_stride + c % kHeadDim;
            const float want = Number(s, index, position + row, c);
            ASSERT_EQ(keys[at], want) << Where(s, index, query);
            ASSERT_EQ(values[at], -want) << Where(s, index, query);
          }
          position += run.count;
        }
        ASSERT_EQ(position, query + 1) << Where(s, index, query);
      }
    }
  }

  std::string Where(int s, int64_t index, int64_t query) const {
    return "sequence " + std::to_string(s) + ", ring " +
           std::to_string(layout_.layers[index].ring) + ", query " +
           std::to_string(query);
  }

  KvLayout layout_;
  KvPool pool_;
  std::unique_ptr<KvSequence> sequences_[2];
  int64_t next_[2] = {0, 0};
  StepKv step_;
  std::vector<KvRun> runs_;
};

// Rings of less than a page, a page, no whole number of pages, and none.
const std::vector<int64_t> kRings = {1, 24, 64, 100, 0};

TEST(StepKvTest, Decoding_SeesTheWindow_RoundTheRing) {
  Replay replay(kRings);
  for (int i = 0; i < 350; ++i) replay.Step({1, 1});
}

TEST(StepKvTest, ChunksOfEverySize_SeeTheWindow) {
  Replay replay(kRings);
  for (int64_t chunk : {5, 1, 64, 63, 65, 2, 100, 24, 23, 25, 99, 101, 17}) {
    replay.Step({chunk, 1 + chunk % 7});
  }
}

TEST(StepKvTest, ChunkLongerThanTheRing_LeavesItsLastRows) {
  Replay replay(kRings);
  replay.Step({257, 1});
  for (int i = 0; i < 130; ++i) replay.Step({1, 1});
  replay.Step({300, 300});
  for (int i = 0; i < 130; ++i) replay.Step({1, 2});
}

TEST(StepKvTest, SequencesOfABatch_DoNotSeeEachOther) {
  Replay replay(kRings);
  replay.Step({70, 1});
  replay.Step({1, 200});
  replay.Step({130, 1});
  for (int i = 0; i < 64; ++i) replay.Step({1, 3});
}

TEST(StepKvTest, SmallerStepAfterABigOne_UsesItsRoomAgain) {
  const KvLayout layout = Layout({24, 0});
  StepKv step;
  step.Begin(layout, 100);
  const size_t bytes = step.bytes();
  EXPECT_GE(bytes, 2u * 2 * 100 * kWidth * sizeof(float));
  step.Begin(layout, 3);
  EXPECT_EQ(step.bytes(), bytes);
  EXPECT_EQ(step.Values(1) - step.Keys(1),
            static_cast<int64_t>(3 * kWidth * sizeof(float)));
}

TEST(StepKvTest, IndexOf_FindsTheModelsLayer) {
  StepKv step;
  step.Begin(Layout({24, 0, 64}), 1);
  EXPECT_EQ(step.IndexOf(10), 0);
  EXPECT_EQ(step.IndexOf(12), 1);
  EXPECT_EQ(step.IndexOf(14), 2);
}

}  // namespace
}  // namespace lapidary::kernels
