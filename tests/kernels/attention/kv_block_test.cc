// Blocks that outlive their sequences: who holds which page, that a sequence
// which begins with them sees what one that ran everything sees, and that no
// page is ever written under somebody else's eyes or lost.
#include "kernels/attention/kv_block.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/attention/step_kv.h"

namespace lapidary::kernels {
namespace {

constexpr int64_t kWidth = 3;
using Tokens = std::vector<int>;

// Two windows (of less than two pages, and of three) and a layer that keeps
// everything.
KvLayout Layout() {
  KvLayout layout;
  layout.kv_width = kWidth;
  layout.layers = {{0, 70}, {1, 0}, {2, 192}};
  return layout;
}

// The key of a token depends on all tokens up to it, and on nothing else.
float KeyOf(const std::vector<uint32_t>& hashes, int64_t index,
            int64_t position, int64_t column) {
  const uint32_t h = hashes[position] + 977 * index + 131 * column;
  return static_cast<float>(h % 8388593);
}

// A sequence as a stage runs it.
struct Runner {
  Runner(KvPool* pool, Tokens history)
      : pool(pool), tokens(std::move(history)) {
    uint32_t h = 7;
    for (int token : tokens) hashes.push_back(h = h * 1000003 + token + 1);
  }

  absl::Status Start(std::vector<const KvBlock*> prefix) {
    auto created =
        KvSequence::Create(pool, static_cast<int64_t>(tokens.size()), prefix);
    if (!created.ok()) return created.status();
    kv = *std::move(created);
    next = static_cast<int64_t>(prefix.size()) * kKvPagePositions;
    return absl::OkStatus();
  }

  // Runs `rows` rows, checking what each of them sees.
  void Step(int64_t rows, const std::vector<KvBlock*>& keep) {
    const KvLayout& layout = pool->layout();
    step.Begin(layout, rows);
    const SequenceRows sequence{kv.get(), next, rows, keep};
    const auto layers = static_cast<int64_t>(layout.layers.size());
    for (int64_t index = 0; index < layers; ++index) {
      auto* keys = reinterpret_cast<float*>(step.Keys(index));
      auto* values = reinterpret_cast<float*>(step.Values(index));
      for (int64_t i = 0; i < rows * kWidth; ++i) {
        keys[i] = KeyOf(hashes, index, next + i / kWidth, i % kWidth);
        values[i] = -keys[i];
      }
    }
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t index = 0; index < layers; ++index) {
        Check(index, sequence, next + row);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
    step.Commit({&sequence, 1});
    next += rows;
  }

  void Check(int64_t index, const SequenceRows& sequence, int64_t query) {
    const int64_t window = pool->layout().layers[index].ring;
    step.VisibleRuns(index, sequence, 0, query, window, &runs);
    int64_t position =
        window > 0 ? std::max<int64_t>(0, query - window + 1) : 0;
    for (const KvRun& run : runs) {
      const auto* keys = reinterpret_cast<const float*>(run.keys);
      const auto* values = reinterpret_cast<const float*>(run.values);
      for (int64_t i = 0; i < run.count * kWidth; ++i) {
        const float want =
            KeyOf(hashes, index, position + i / kWidth, i % kWidth);
        ASSERT_EQ(keys[i], want) << "layer " << index << ", query " << query
                                 << ", position " << position + i / kWidth;
        ASSERT_EQ(values[i], -want);
      }
      position += run.count;
    }
    ASSERT_EQ(position, query + 1);
  }

  int64_t left() const { return static_cast<int64_t>(tokens.size()) - next; }

  KvPool* pool;
  Tokens tokens;
  std::vector<uint32_t> hashes;
  std::unique_ptr<KvSequence> kv;
  int64_t next = 0;
  StepKv step;
  std::vector<KvRun> runs;
};

Tokens Count(int64_t count) {
  Tokens tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int>(i % 7));
  return tokens;
}

// Runs `positions` in one step and keeps all of their blocks.
std::vector<std::unique_ptr<KvBlock>> KeepAll(Runner& runner,
                                              int64_t positions) {
  std::vector<std::unique_ptr<KvBlock>> blocks;
  std::vector<KvBlock*> keep;
  for (int64_t n = 0; n < positions / kKvPagePositions; ++n) {
    blocks.push_back(std::make_unique<KvBlock>(runner.pool, n));
    keep.push_back(blocks.back().get());
  }
  runner.Step(positions, keep);
  return blocks;
}

std::vector<const KvBlock*> Prefix(
    const std::vector<std::unique_ptr<KvBlock>>& blocks, int64_t count) {
  std::vector<const KvBlock*> prefix;
  for (int64_t n = 0; n < count; ++n) prefix.push_back(blocks[n].get());
  return prefix;
}

TEST(KvBlockTest, ASequenceGoesOnFromAnyBlockOfAnother) {
  KvPool pool(Layout(), 200);
  Runner first(&pool, Count(700));
  ASSERT_TRUE(first.Start({}).ok());
  const auto blocks = KeepAll(first, 640);  // longer than every ring
  for (int64_t count = 0; count <= 10; ++count) {
    for (int64_t chunk : {1, 60, 64, 200, 700}) {
      Runner next(&pool, Count(700));
      ASSERT_TRUE(next.Start(Prefix(blocks, count)).ok());
      while (next.left() > 0) next.Step(std::min(chunk, next.left()), {});
    }
  }
  while (first.left() > 0) first.Step(1, {});
}

TEST(KvBlockTest, FullPagesAreShared_RingsArePromisedTheirOwn) {
  KvPool pool(Layout(), 100);
  Runner first(&pool, Count(320));  // 2 + 5 + 3 pages
  ASSERT_TRUE(first.Start({}).ok());
  EXPECT_EQ(pool.pages_free(), 90);
  const auto blocks = KeepAll(first, 320);
  // Ten pages of windows more.
  EXPECT_EQ(pool.pages_free(), 80);
  EXPECT_EQ(pool.pages_kept(), 15);
  first.kv.reset();
  EXPECT_EQ(pool.pages_in_use(), 0);
  EXPECT_EQ(pool.pages_free(), 85);
  Runner next(&pool, Count(320));
  ASSERT_TRUE(next.Start(Prefix(blocks, 4)).ok());
  // One block of its own, and its rings.
  EXPECT_EQ(pool.pages_free(), 85 - 1 - 2 - 3);
  blocks[1]->DropWindow();
  EXPECT_TRUE(blocks[1]->has_full());
  EXPECT_FALSE(blocks[1]->has_window());
  EXPECT_EQ(pool.pages_free(), 85 - 1 - 2 - 3 + 2);
  next.Step(64, {});
}

TEST(KvBlockTest, AWindowIsKeptOnlyWhereAPageIsFreeForItsRing) {
  KvPool pool(Layout(), 3 + 2 + 3);
  Runner runner(&pool, Count(192));
  ASSERT_TRUE(runner.Start({}).ok());
  ASSERT_EQ(pool.pages_free(), 0);
  const auto blocks = KeepAll(runner, 64);
  EXPECT_TRUE(blocks[0]->has_full());
  EXPECT_FALSE(blocks[0]->has_window());
  while (runner.left() > 0) runner.Step(1, {});
}

TEST(KvBlockTest, PrefixesThatLackPagesAreRefused) {
  KvPool pool(Layout(), 100);
  Runner first(&pool, Count(320));
  ASSERT_TRUE(first.Start({}).ok());
  const auto blocks = KeepAll(first, 320);
  blocks[0]->DropWindow();  // is behind the window of four blocks
  Runner next(&pool, Count(320));
  EXPECT_TRUE(next.Start(Prefix(blocks, 4)).ok());
  EXPECT_EQ(next.Start(Prefix(blocks, 3)).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(next.Start(Prefix(blocks, 5)).code(),
            absl::StatusCode::kFailedPrecondition);
  const KvBlock empty(&pool, 0);
  EXPECT_EQ(next.Start({&empty}).code(), absl::StatusCode::kFailedPrecondition);
}

// Sequences over few different tokens, so that many begin alike, started from
// whatever is kept, run in random chunks and ended at any time, while blocks
// and windows are dropped at random.
TEST(KvBlockTest, RandomInterleavings_SeeTheirOwnKeys_AndLoseNoPage) {
  std::mt19937 random(20261125);
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(random() % n);
  };
  KvPool pool(Layout(), 150);
  std::map<Tokens, std::unique_ptr<KvBlock>> kept;  // by the tokens to its end
  std::vector<std::unique_ptr<Runner>> running;
  const auto history_of = [](const Runner& runner, int64_t blocks) {
    return Tokens(runner.tokens.begin(),
                  runner.tokens.begin() + blocks * kKvPagePositions);
  };
  int64_t hits = 0;
  int64_t steps = 0;
  for (int turn = 0; turn < 4000; ++turn) {
    const int64_t what = below(20);
    if (what < 2 && running.size() < 4) {
      Tokens tokens(65 + below(500));
      int token = 0;
      for (size_t i = 0; i < tokens.size(); ++i) {
        if (i % kKvPagePositions == 0) token = static_cast<int>(below(2));
        tokens[i] = token;
      }
      auto runner = std::make_unique<Runner>(&pool, std::move(tokens));
      std::vector<const KvBlock*> prefix;
      for (int64_t n = 1; n * kKvPagePositions < runner->left(); ++n) {
        const auto it = kept.find(history_of(*runner, n));
        if (it == kept.end()) break;
        prefix.push_back(it->second.get());
      }
      absl::Status status = runner->Start(prefix);
      while (absl::IsFailedPrecondition(status) && !prefix.empty()) {
        prefix.pop_back();
        status = runner->Start(prefix);
      }
      if (!status.ok()) continue;  // no pages
      hits += prefix.empty() ? 0 : 1;
      running.push_back(std::move(runner));
    } else if (what == 2 && !running.empty()) {
      running.erase(running.begin() + below(running.size()));
    } else if (what < 5 && !kept.empty()) {
      auto it = std::next(kept.begin(), below(kept.size()));
      if (below(2) == 0) {
        it->second->DropWindow();
      } else {
        kept.erase(it);
      }
    } else if (!running.empty()) {
      Runner& runner = *running[below(running.size())];
      if (runner.left() == 0) continue;
      const int64_t rows = std::min(
          below(3) == 0 ? 1 + below(300) : 1 + below(20), runner.left());
      std::vector<KvBlock*> keep;
      for (int64_t n = runner.next / kKvPagePositions;
           (n + 1) * kKvPagePositions <= runner.next + rows; ++n) {
        if (below(4) == 0) continue;
        auto& block = kept[history_of(runner, n + 1)];
        if (block == nullptr) block = std::make_unique<KvBlock>(&pool, n);
        keep.push_back(block.get());
      }
      runner.Step(rows, keep);
      if (HasFatalFailure()) return;
      ++steps;
    }
    ASSERT_GE(pool.pages_free(), 0);
    ASSERT_LE(pool.pages_in_use(), pool.pages_total());
  }
  EXPECT_GT(hits, 40);
  EXPECT_GT(steps, 800);
  running.clear();
  EXPECT_EQ(pool.pages_in_use(), 0);
  EXPECT_EQ(pool.pages_free(), pool.pages_total() - pool.pages_kept());
  kept.clear();
  EXPECT_EQ(pool.pages_kept(), 0);
  EXPECT_EQ(pool.pages_free(), pool.pages_total());
}

}  // namespace
}  // namespace lapidary::kernels
