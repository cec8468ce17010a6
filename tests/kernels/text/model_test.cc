// What the decoder promises beside Hugging Face's numbers: a stage is the same
// code as the whole, company changes nothing that matters, pages come back.

#include "kernels/text/model.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/text/layer.h"
#include "storage/packed_model.h"
#include "storage/ple_store.h"
#include "tests/support/text_golden.h"
#include "tests/support/text_runner.h"
#include "tests/support/tiny_model.h"

namespace lapidary {
namespace {

using kernels::ConstMatrixView;
using kernels::DType;
using kernels::KvLayout;
using kernels::KvPool;
using kernels::KvSequence;
using kernels::SequenceRows;
using kernels::text::LayerRange;
using kernels::text::StageState;
using kernels::text::TextBatch;
using kernels::text::TextConfig;
using kernels::text::TextModel;
using Outputs = TextRunner::Outputs;

constexpr double kNoise = 1e-4;

std::vector<int32_t> SomeIds(int64_t count, int seed) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back((i * 37 + seed * 11) % 290);
  return ids;
}

double Apart(const std::vector<float>& a, const std::vector<float>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    worst = std::max<double>(worst, std::fabs(a[i] - b[i]));
  }
  return worst;
}

class TextModelTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto hf = SynthFolder(dir_, TinyConfigJson(), 5, DType::kBf16);
    ASSERT_TRUE(hf.ok()) << hf.status();
    const auto packed = PackFolder(dir_, *hf, DType::kF32);
    ASSERT_TRUE(packed.ok()) << packed.status();
    folder_ = *packed;
    auto runner = TextRunner::Open(folder_, {});
    ASSERT_TRUE(runner.ok()) << runner.status();
    runner_ = *std::move(runner);
  }

  TempDir dir_;
  std::string folder_;
  std::unique_ptr<TextRunner> runner_;
};

TEST_F(TextModelTest, TrimmedAndUntrimmedPrefill_GiveTheSameLastLogits) {
  TextRunnerOptions untrimmed_options;
  untrimmed_options.trim_prefill = false;
  auto untrimmed = TextRunner::Open(folder_, untrimmed_options);
  ASSERT_TRUE(untrimmed.ok()) << untrimmed.status();
  const auto ids = SomeIds(40, 1);
  RunningSequence a = runner_->Start(41);
  RunningSequence b = (*untrimmed)->Start(41);
  const auto trimmed = runner_->Feed(&a, ids, 16, Outputs::kLast);
  const auto full = (*untrimmed)->Feed(&b, ids, 16, Outputs::kLast);
  EXPECT_LE(Apart(trimmed[0], full[0]), kNoise);
  // And they leave the same cache behind.
  const auto next_a = runner_->Feed(&a, {7}, 1, Outputs::kLast);
  const auto next_b = (*untrimmed)->Feed(&b, {7}, 1, Outputs::kLast);
  EXPECT_LE(Apart(next_a[0], next_b[0]), kNoise);
}

TEST_F(TextModelTest, SequencesInOneStep_EqualTheSameAlone) {
  const std::vector<int64_t> lengths = {1, 5, 9, 23, 64};
  std::vector<RunningSequence> together, alone;
  std::vector<RunningSequence*> pointers;
  std::vector<int32_t> next;
  for (size_t i = 0; i < lengths.size(); ++i) {
    together.push_back(runner_->Start(100));
    alone.push_back(runner_->Start(100));
  }
  for (size_t i = 0; i < lengths.size(); ++i) {
    const auto ids = SomeIds(lengths[i], i);
    runner_->Feed(&together[i], ids, 512, Outputs::kLast);
    runner_->Feed(&alone[i], ids, 512, Outputs::kLast);
    pointers.push_back(&together[i]);
    next.push_back(i + 3);
  }
  for (int step = 0; step < 20; ++step) {
    const LogitRows batch = runner_->DecodeTogether(pointers, next);
    for (size_t i = 0; i < lengths.size(); ++i) {
      const LogitRows single =
          runner_->Feed(&alone[i], {next[i]}, 1, Outputs::kLast);
      EXPECT_LE(Apart(batch[i], single[0]), kNoise)
          << "sequence " << i << ", step " << step;
      next[i] = Argmax(single[0], 290);
    }
  }
}

// Runs ids through two stages [0, cut) and [cut, layers), each with a cache of
// its own.
class TwoStages {
 public:
  TwoStages(const std::string& folder, int64_t cut) : cut_(cut) {
    packed_ = *PackedModel::Open(folder, {});
    ple_ = *PleStore::Open(packed_->ple_folder(), packed_->ple_shape(), {});
    layers_ = packed_->config().text.num_hidden_layers;
    const LayerRange ranges[] = {{0, cut}, {cut, layers_}};
    for (int s = 0; s < 2; ++s) {
      models_[s] = std::make_unique<TextModel>(
          *kernels::text::BindTextWeights(packed_->config().text, ranges[s],
                                          packed_->Lookup()),
          kernels::text::TextModelOptions());
      pools_[s] = std::make_unique<KvPool>(models_[s]->kv_layout(), 256);
      kv_[s] = *KvSequence::Create(pools_[s].get(), 128);
    }
  }

  LogitRows Feed(const std::vector<int32_t>& ids, bool all) {
    const auto rows = static_cast<int64_t>(ids.size());
    std::vector<int64_t> wanted;
    for (int64_t row = all ? 0 : rows - 1; row < rows; ++row) {
      wanted.push_back(row);
    }
    const LayerRange ranges[] = {{0, cut_}, {cut_, layers_}};
    StageState state;
    LogitRows logits;
    for (int s = 0; s < 2; ++s) {
      const auto table = *ple_->Read(ids, ranges[s]);
      const size_t row_bytes = table.bytes() / rows;
      std::vector<const void*> ple_rows;
      for (int64_t row = 0; row < rows; ++row) {
        ple_rows.push_back(static_cast<const std::byte*>(table.raw()) +
                           row * row_bytes);
      }
      const SequenceRows sequence{kv_[s].get(), position_, rows};
      TextBatch batch;
      batch.sequences = {&sequence, 1};
      batch.token_ids = ids;
      batch.ple_rows = ple_rows;
      batch.ple_dtype = table.dtype();
      batch.output_rows = wanted;
      if (s == 0) models_[s]->Embed(batch, &state);
      models_[s]->RunLayers(batch, &state);
      if (s == 1) {
        models_[s]->Head(batch, state, [&](int64_t, ConstMatrixView block) {
          for (int64_t row = 0; row < block.rows; ++row) {
            logits.emplace_back(block.row(row), block.row(row) + block.cols);
          }
        });
      }
    }
    position_ += rows;
    return logits;
  }

 private:
  int64_t cut_;
  int64_t layers_ = 0;
  int64_t position_ = 0;
  std::unique_ptr<PackedModel> packed_;
  std::unique_ptr<PleStore> ple_;
  std::unique_ptr<TextModel> models_[2];
  std::unique_ptr<KvPool> pools_[2];
  std::unique_ptr<KvSequence> kv_[2];
};

TEST_F(TextModelTest, TwoStagesCutAnywhere_EqualTheWholeBitForBit) {
  for (int64_t cut = 1; cut < runner_->config().num_hidden_layers; ++cut) {
    for (bool all : {false, true}) {
      TwoStages stages(folder_, cut);
      RunningSequence whole = runner_->Start(100);
      const Outputs outputs = all ? Outputs::kAll : Outputs::kLast;
      for (int64_t rows : {20, 7, 1, 1}) {
        const auto ids = SomeIds(rows, cut);
        EXPECT_EQ(stages.Feed(ids, all),
                  runner_->Feed(&whole, ids, 512, outputs))
            << "cut before layer " << cut << ", " << rows << " rows";
      }
    }
  }
}

TEST_F(TextModelTest, EndedSequence_GivesItsPagesBack) {
  KvPool* pool = runner_->pool();
  EXPECT_EQ(pool->pages_in_use(), 0);
  {
    RunningSequence a = runner_->Start(200);
    RunningSequence b = runner_->Start(3);
    EXPECT_EQ(pool->pages_in_use(),
              pool->layout().PagesFor(200) + pool->layout().PagesFor(3));
  }
  EXPECT_EQ(pool->pages_in_use(), 0);
}

TEST_F(TextModelTest, FullPool_RefusesAndKeepsWhatItHas) {
  KvPool small(runner_->model()->kv_layout(), 8);
  auto first = KvSequence::Create(&small, 64);
  ASSERT_TRUE(first.ok()) << first.status();
  const int64_t used = small.pages_in_use();
  const auto second = KvSequence::Create(&small, 1000);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(small.pages_in_use(), used);
}

TEST_F(TextModelTest, SlidingLayers_TakeNoMorePagesThanTheirWindow) {
  const KvLayout& layout = runner_->model()->kv_layout();
  int64_t full = 0, sliding = 0;
  for (const auto& layer : layout.layers) ++(layer.ring > 0 ? sliding : full);
  ASSERT_GT(sliding, 0);
  const int64_t far = 100 * kernels::kKvPagePositions;
  EXPECT_EQ(layout.PagesFor(far), full * 100 + sliding);
}

TEST(Sparsity, MultiplierIsTheNormalQuantile) {
  EXPECT_NEAR(kernels::text::SparsityMultiplier(0.95f), 1.6448535f, 3e-7);
  EXPECT_NEAR(kernels::text::SparsityMultiplier(0.5f), 0.0f, 1e-7);
  EXPECT_NEAR(kernels::text::SparsityMultiplier(0.8f), 0.8416212f, 2e-7);
}

}  // namespace
}  // namespace lapidary
